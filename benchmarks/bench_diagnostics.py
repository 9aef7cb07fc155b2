"""How often do the rules cry wolf, and how often do they name the cause?

1. Simulated sound trainings (12 to 120 evaluations, 0.5 to 4 % noise, late metrics, validation
   noise that grows), each judged at 12 points of its course: false alarms per rule.
2. The healthy bank: real runs of every trainer, judged at every evaluation.
3. Simulated faults: how often the rule fires, and how often the headline of the diagnosis is its
   root cause; the same with two faults at once. Faults in real trainings are tests
   (``tests/integration``).

    python benchmarks/bench_diagnostics.py [--runs 1000] [--faulty 50] [--jobs 2]
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rules import RULES
from backend.core.diagnosis import DiagnosticFinding
from tests.support.healthy_bank import Banked, bank
from tests.support.simulated_trainings import FAULTS, PREFIXES, pairs, sound, with_pair

GRAVE = ("stop", "error")


@dataclass(frozen=True)
class Alarms:
    """Rules that fired at any point of a run, by severity."""

    errors: frozenset[str]
    warnings: frozenset[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="Simulated sound runs.")
    parser.add_argument("--faulty", type=int, default=50, help="Runs per fault.")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as workers:
        simulated = [*workers.map(judge_sound, range(options.runs), chunksize=10)]
        real = [*workers.map(judge_real, bank())]
        print("| healthy runs | number | with an error | with a warning | which |")
        print("| --- | --- | --- | --- | --- |")
        print(healthy_line(f"simulated, {PREFIXES} points each", simulated))
        print(healthy_line("real, every evaluation", real), flush=True)
        print("\n| fault | runs | recall | headline names the root cause |")
        print("| --- | --- | --- | --- |")
        for rule in FAULTS:
            found = [*workers.map(judge_fault, [rule] * options.faulty, range(options.faulty))]
            print(fault_line(rule, found), flush=True)
        both = [
            *workers.map(
                judge_pair, *zip(*((a, b, n) for a, b in pairs() for n in range(3)), strict=True)
            )
        ]
        print(fault_line("two faults at once", both))


def judge_sound(seed: int) -> Alarms:
    """A sound run at 12 points of its course."""
    made = sound(seed)
    steps = [made.steps[round(p * len(made.steps) / PREFIXES) - 1] for p in range(1, PREFIXES + 1)]
    return alarms(made.evidence(), sorted(set(steps)))


def judge_real(run: Banked) -> Alarms:
    """A banked run at each of its evaluations, and at its end."""
    evidence = run.evidence()
    return alarms(evidence, evidence.evaluations)


def alarms(evidence: Evidence, steps: Iterable[int]) -> Alarms:
    """What was said at any of these steps, and of the whole."""
    said: list[DiagnosticFinding] = []
    for seen in (*(evidence.until(step) for step in steps), evidence):
        diagnosis = diagnose(seen)
        said += [*diagnosis.findings, *diagnosis.also_seen]
    return Alarms(
        frozenset(finding.rule for finding in said if finding.severity in GRAVE),
        frozenset(finding.rule for finding in said if finding.severity == "warning"),
    )


def judge_fault(rule: str, number: int) -> tuple[bool, bool]:
    """Did the rule fire, and is it the headline?"""
    generator = np.random.default_rng([1, number])
    return named(FAULTS[rule](sound(10_000 + number), generator).evidence(), rule)


def judge_pair(root: str, other: str, number: int) -> tuple[bool, bool]:
    """The same of the root cause among two faults."""
    generator = np.random.default_rng([2, number])
    return named(with_pair(sound(20_000 + number), root, other, generator).evidence(), root)


def named(evidence: Evidence, rule: str) -> tuple[bool, bool]:
    diagnosis = diagnose(evidence)
    fired = {finding.rule for finding in (*diagnosis.findings, *diagnosis.also_seen)}
    return rule in fired, bool(diagnosis.findings) and diagnosis.findings[0].rule == rule


def healthy_line(name: str, runs: Sequence[Alarms]) -> str:
    if not runs:
        return f"| {name} | 0 | – | – | – |"
    errors, warned = (sum(bool(seen) for seen in side) for side in (
        [run.errors for run in runs], [run.warnings for run in runs]))  # fmt: skip
    which = Counter(rule for run in runs for rule in run.errors | run.warnings)
    told = ", ".join(f"{rule} {count}" for rule, count in which.most_common()) or "none"
    return (
        f"| {name} | {len(runs):,} | {share(errors, len(runs))} | {share(warned, len(runs))} | "
        f"{told} |"
    )


def fault_line(rule: str, found: Sequence[tuple[bool, bool]]) -> str:
    title = next((f"{r.id} {r.title}" for r in RULES if r.id == rule), rule)
    fired, first = (sum(side) for side in zip(*found, strict=True))
    return f"| {title} | {len(found)} | {share(fired, len(found))} | {share(first, len(found))} |"


def share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


if __name__ == "__main__":
    main()
