"""How often do the rules cry wolf, and how often do they name the cause?

1. Simulated sound trainings (12 to 120 evaluations, 0.5 to 4 % noise, late metrics, validation
   noise that grows; a fourth as many trackers), each judged at 12 points of its course: false
   alarms per rule.
2. The healthy bank: real runs of every trainer, judged at every evaluation.
3. Simulated faults: how often the rule fires, and how often the headline of the diagnosis is its
   root cause; the same with two faults at once. Faults in real trainings are tests
   (``tests/integration``).

    python benchmarks/bench_diagnostics.py [--runs 1000] [--faulty 50] [--jobs 2]
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rules import RULES
from backend.core.diagnosis import DiagnosticFinding
from tests.support.evidence_made import Made
from tests.support.healthy_bank import Banked, bank
from tests.support.simulated_trackers import TRACK_FAULTS, sound_tracker
from tests.support.simulated_trainings import FAULTS, PREFIXES, pairs, sound, with_pair

GRAVE = ("stop", "error")
SYMPTOMS = ("B01", "B02", "B03")
"""What an input that is not used looks like; they are never the root cause of it."""
STATES = ("B16", "B17")
"""What is no fault, and so no cause."""
EARLY = 0.4
"""Of its evaluations, after which a sound run still improves."""

Found = tuple[bool, bool]
"""Did the rule fire, and is it the headline?"""


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
    numbers = range(options.faulty)
    both = [(root, other, n) for root, other in pairs() for n in range(3)]
    with ProcessPoolExecutor(options.jobs) as workers:
        simulated = [*workers.map(judge_sound, range(options.runs), chunksize=10)]
        simulated += workers.map(judge_tracker, range(options.runs // 4), chunksize=10)
        real = [*workers.map(judge_real, bank())]
        found = {
            rule.id: [*workers.map(judge_fault, [rule.id] * options.faulty, numbers)]
            for rule in RULES
            if rule.id in {*FAULTS, *TRACK_FAULTS, *SYMPTOMS, *STATES}
        }
        paired = [*workers.map(judge_pair, *zip(*both, strict=True))]
    print("\n".join(rule_table(found, simulated, real)))
    print(f"\n{told_of('simulated', simulated)} {told_of('real', real)}")
    fired, first = rates(paired)
    print(f"Two faults at once ({len(paired)} runs): the root fired in {fired}, and was the "
          f"headline in {first}.")  # fmt: skip


def judge_sound(seed: int) -> Alarms:
    """A sound run at 12 points of its course."""
    return judge_made(sound(seed))


def judge_tracker(seed: int) -> Alarms:
    """The same of a tracker."""
    return judge_made(sound_tracker(seed))


def judge_made(made: Made) -> Alarms:
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


def judge_fault(rule: str, number: int) -> Found:
    """A run with the rule's fault, or a sound one where that is what the rule tells of."""
    if rule in TRACK_FAULTS:
        return named(TRACK_FAULTS[rule](number).evidence(), rule)
    generator, made = np.random.default_rng([1, number]), sound(10_000 + number)
    if rule == "B17":
        made = made.first(round(EARLY * len(made.steps)))
    elif rule != "B16":
        made = FAULTS["B04" if rule in SYMPTOMS else rule](made, generator)
    return named(made.evidence(), rule)


def judge_pair(root: str, other: str, number: int) -> Found:
    """The same of the root cause among two faults."""
    generator = np.random.default_rng([2, number])
    return named(with_pair(sound(20_000 + number), root, other, generator).evidence(), root)


def named(evidence: Evidence, rule: str) -> Found:
    diagnosis = diagnose(evidence)
    fired = {finding.rule for finding in (*diagnosis.findings, *diagnosis.also_seen)}
    return rule in fired, bool(diagnosis.findings) and diagnosis.findings[0].rule == rule


def rule_table(
    found: Mapping[str, Sequence[Found]], simulated: Sequence[Alarms], real: Sequence[Alarms]
) -> Iterator[str]:
    """A row per rule: how often it finds its fault and is the headline, and its false alarms."""
    head = ("rule", "recall", "named as root cause", f"false alarms in {len(simulated):,} "
            "simulated runs", f"in {len(real):,} real runs")  # fmt: skip
    yield f"| {' | '.join(head)} |"
    yield "| --- " * len(head) + "|"
    for rule in RULES:
        recall, first = rates(found.get(rule.id, ()))
        first = "–" if rule.id in {*SYMPTOMS, *STATES} else first
        alarms = [str(sum(rule.id in run.errors | run.warnings for run in runs))
                  for runs in (simulated, real)]  # fmt: skip
        yield f"| {' | '.join((f'{rule.id} {rule.title}', recall, first, *alarms))} |"


def rates(found: Sequence[Found]) -> tuple[str, str]:
    """How often a rule fired and was the headline; dashes where nothing was simulated."""
    if not found:
        return "–", "–"
    fired, first = (share(sum(side), len(found)) for side in zip(*found, strict=True))
    return fired, first


def told_of(name: str, runs: Sequence[Alarms]) -> str:
    """How many sound runs heard of an error or a warning."""
    errors, warned = sum(bool(r.errors) for r in runs), sum(bool(r.warnings) for r in runs)
    return f"Of {len(runs):,} {name} healthy runs {errors} had an error and {warned} a warning."


def share(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %"


if __name__ == "__main__":
    main()
