"""What one image costs, as the trainer logged it, and who is worth it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.analysis.experts.keys import DENSE, EXPERTS, TOP_K, gflops_of
from backend.core.records import Run, StudyRecord, TrialRecord


@dataclass(frozen=True)
class Pair:
    """At one top-k the best trial with experts and the best dense one, which costs the same."""

    k: int
    experts: TrialRecord
    dense: TrialRecord


def gflops_by_run(runs: Sequence[Run]) -> dict[str, float]:
    """By run key, for those that know it."""
    return {run.key: cost for run in runs if (cost := gflops_of(run)) is not None}


def beside_dense(study: StudyRecord) -> tuple[Pair, ...]:
    """Experts and dense models of a study, by top-k; empty if it did not try both."""
    best: dict[tuple[int, bool], TrialRecord] = {}
    for trial in study.trials:
        if trial.state != "complete" or trial.value is None or EXPERTS not in trial.params:
            continue
        place = (int(trial.params.get(TOP_K) or 0), trial.params[EXPERTS] == DENSE)
        if place not in best or _ahead(trial, best[place], study):
            best[place] = trial
    return tuple(
        Pair(k, best[k, False], best[k, True])
        for k in sorted({k for k, _ in best})
        if (k, False) in best and (k, True) in best
    )


def _ahead(trial: TrialRecord, other: TrialRecord, study: StudyRecord) -> bool:
    sign = 1 if study.direction == "maximize" else -1
    return sign * ((trial.value or 0.0) - (other.value or 0.0)) > 0


def sentences(study: StudyRecord, gflops: Mapping[str, float]) -> list[str]:
    """Who has the better value at each top-k, and what it costs; also when the dense one wins."""
    said = []
    for pair in beside_dense(study):
        ahead = _ahead(pair.experts, pair.dense, study)
        verb = "is better than" if ahead else "is not better than"
        said.append(
            f"At top-k {pair.k} the best with experts ({pair.experts.params[EXPERTS]}, "
            f"{_worth(pair.experts, gflops)}) {verb} the dense model of the same cost "
            f"({_worth(pair.dense, gflops)}), one run each"
        )
    return said


def _worth(trial: TrialRecord, gflops: Mapping[str, float]) -> str:
    cost = gflops.get(trial.run)
    return f"{trial.value:.4f}" + ("" if cost is None else f" at {cost:.3g} GFLOP")
