"""What a person picks when looking at experts: a run, a moment of it, a router, a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backend.analysis.experts.costs import gflops_by_run
from backend.analysis.experts.course import final_of, validations
from backend.analysis.experts.keys import DENSE, EXPERTS, TOP_K
from backend.core.experts import ExpertReport, RouterReport
from backend.core.records import Run, StudyRecord

FINAL = "final"

Condition = Literal["unused", "dead", "overloaded", ""]


def has_experts(run: Run) -> bool:
    """Whether a run trains a mixture, as its parameters tell."""
    return run.params.get(EXPERTS, DENSE) != DENSE


def moments(reports: Sequence[ExpertReport]) -> list[str]:
    """The names of a run's reports, in order: the step of each validation, then ``final``."""
    steps = [str(report.step) for report in validations(reports)]
    return [*steps, FINAL] if final_of(reports) else steps


def moment_of(reports: Sequence[ExpertReport], wanted: str) -> str:
    """``wanted``, or the last moment if there is no such one."""
    known = moments(reports)
    return wanted if wanted in known else known[-1]


def report_of(reports: Sequence[ExpertReport], wanted: str) -> ExpertReport:
    """The report of a moment; the last one for an unknown moment."""
    return reports[moments(reports).index(moment_of(reports, wanted))]


def router_names(report: ExpertReport) -> list[str]:
    """Query routers from the last decoder layer, whose gate makes the answer, to the first."""
    queries = [router.name for router in report.router("query")]
    rest = [router.name for router in report.routers if router.name not in queries]
    return [*reversed(queries), *rest]


def find_router(report: ExpertReport, name: str) -> RouterReport:
    """A router by name; the first of ``router_names`` for an unknown name."""
    by_name = {router.name: router for router in report.routers}
    return by_name.get(name) or by_name[router_names(report)[0]]


def with_router(report: ExpertReport, name: str) -> ExpertReport:
    """The report as if it had one router only: values of layers are not mixed then."""
    return report.model_copy(update={"routers": (find_router(report, name),)})


def conditions(router: RouterReport) -> list[Condition]:
    """What is wrong with each expert of a router; empty where nothing is."""
    found: list[Condition] = []
    for expert in range(len(router.usage)):
        if expert in router.unused:
            found.append("unused")
        elif expert in router.dead:
            found.append("dead")
        else:
            found.append("overloaded" if expert in router.overloaded else "")
    return found


@dataclass(frozen=True)
class TopKPoint:
    """A finished trial of a study over top-k. ``configuration`` is A, B, C, custom or dense."""

    trial: int
    run: str
    configuration: str
    k: int
    value: float
    gflops: float | None


def find_top_k(studies: Sequence[StudyRecord], *wanted: str) -> StudyRecord | None:
    """The study over top-k that is ``wanted``, by the first name that fits, else the newest."""
    found = [s for s in studies if any(TOP_K in trial.params for trial in s.trials)]
    by_name = {study.name: study for study in reversed(found)}
    named = (by_name[name] for name in wanted if name in by_name)
    return next(named, found[0] if found else None)


def top_k_points(study: StudyRecord, runs: Sequence[Run]) -> list[TopKPoint]:
    """The finished trials with their cost, by configuration (dense last), k and trial."""
    by_key, costs = {run.key: run for run in runs}, gflops_by_run(runs)
    points = []
    for trial in study.trials:
        run = by_key.get(trial.run)
        params = {**(run.params if run else {}), **trial.params}
        if trial.state != "complete" or trial.value is None or TOP_K not in params:
            continue
        letter, k = str(params.get(EXPERTS, "")), int(str(params[TOP_K]))
        cost = costs.get(trial.run)
        points.append(TopKPoint(trial.number, trial.run, letter, k, trial.value, cost))
    return sorted(points, key=lambda p: (p.configuration == DENSE, p.configuration, p.k, p.trial))
