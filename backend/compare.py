"""Old versus new: score both sides today by the same code, compare, and keep the evidence."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend import launch
from backend.analysis import comparison, gallery
from backend.analysis.caveats import unequal_steps
from backend.analysis.comparison import ComparisonSettings
from backend.analysis.families import compare_family
from backend.analysis.recipes import compare_recipes
from backend.analysis.report.comparison import document
from backend.analysis.report.page import page
from backend.analysis.reports import paired_evidence, task_of
from backend.analysis.weights import weights_moved
from backend.catalog import CATALOG, Catalog
from backend.config.schema import TrainConfig
from backend.core.comparisons import (
    Comparison,
    Family,
    LayerChange,
    Picture,
    RecipeComparison,
)
from backend.core.errors import ComparisonError
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.core.workdir import write_atomic
from backend.evaluate import evaluate
from backend.sides import Side
from backend.tracking.home import Home

SOURCE_SPLIT = "val"
"""Where forgetting is measured: every dataset has it, and no fine-tuning trial has used it."""


@dataclass(frozen=True)
class Comparing:
    """What sides are compared on: a config, a split, the statistics' settings.

    ``config`` None: the sides bring evaluations of their own (files of predictions). ``keep``
    False: nothing is logged or left in the home.
    """

    config: TrainConfig | None
    split: str
    settings: ComparisonSettings
    catalog: Catalog = field(default_factory=lambda: CATALOG)
    keep: bool = True


@dataclass(frozen=True)
class Scored:
    """A side's evaluations: on the target data, and on the source domain if there is one."""

    side: Side
    target: EvalReport
    source: EvalReport | None = None


def compare(
    home: Home,
    baseline: Side,
    candidate: Side,
    how: Comparing,
    workers: launch.Workers | None = None,
) -> Comparison:
    """Evaluate both sides on the target split, and on the source domain if there is one.

    The comparison, its evidence and a readable report go to MLflow and to the work directory.
    """
    return compare_several(home, baseline, [candidate], how, workers)[0]


def compare_several(
    home: Home,
    baseline: Side,
    candidates: Sequence[Side],
    how: Comparing,
    workers: launch.Workers | None = None,
) -> list[Comparison]:
    """Each candidate against the baseline; several get intervals that hold for all at once.

    Each side is evaluated once. Every comparison is kept by itself.
    """
    folder = _folder(home, "compare", how)
    old, *new = score_sides(home, (baseline, *candidates), how, folder, workers)
    family = family_of(old, new, how.settings) if len(new) > 1 else None
    results = []
    for number, scored in enumerate(new, start=1):
        key = folder.name if family is None else f"{folder.name}-{number}"
        result = judge(key, old, scored, how.settings).model_copy(update={"family": family})
        results.append(keep(home, result) if how.keep else result)
    return results


def compare_seeds(
    home: Home,
    sides: tuple[Sequence[Side], Sequence[Side]],
    how: Comparing,
    workers: launch.Workers | None = None,
) -> RecipeComparison:
    """Two recipes, each trained with several seeds; every run is scored on the same units."""
    folder = _folder(home, "recipes", how)
    scored = score_sides(home, (*sides[0], *sides[1]), how, folder, workers)
    first = scored[0].target
    evidence = [paired_evidence((first, one.target))[1] for one in scored]
    at = len(sides[0])
    result = compare_recipes(task_of(first), evidence[:at], evidence[at:], how.settings)
    unequal = unequal_steps(*(_mean_steps(side) for side in sides))
    result = result.model_copy(update={"warnings": (*result.warnings, *unequal)})
    if how.keep:
        from backend.tracking.writer import log_recipes  # noqa: PLC0415 (MLflow is slow)

        folder.mkdir(exist_ok=True)
        write_atomic(folder / "recipes.json", result.model_dump_json(indent=2))
        log_recipes(home, folder.name, time.time(), result)
    return result


def _mean_steps(side: Sequence[Side]) -> int | None:
    """Optimizer steps of a recipe's runs; None if one is not known."""
    steps = [run.contender.steps for run in side]
    known = [count for count in steps if count is not None]
    return round(sum(known) / len(known)) if len(known) == len(steps) else None


def family_of(old: Scored, new: Sequence[Scored], settings: ComparisonSettings) -> Family:
    """All candidates against one baseline, adjusted for their number."""
    evidence = [paired_evidence((old.target, scored.target)) for scored in new]
    named = [scored.side.contender.label for scored in new]
    labels = [f"{n} ({at})" if named.count(n) > 1 else n for at, n in enumerate(named, start=1)]
    return compare_family(
        task_of(old.target),
        (old.side.contender.label, evidence[0][0]),
        {label: pair[1] for label, pair in zip(labels, evidence, strict=True)},
        settings,
    )


def judge(key: str, old: Scored, new: Scored, settings: ComparisonSettings) -> Comparison:
    """The comparison of two sides that were scored. Raises ComparisonError."""
    source = (old.source, new.source) if old.source and new.source else None
    return comparison.compare(
        key=key,
        created=time.time(),
        contenders=(old.side.contender, new.side.contender),
        target=(old.target, new.target),
        source=source,
        weights=_weights(old.side, new.side),
        settings=settings,
    )


def score_sides(
    home: Home,
    sides: Sequence[Side],
    how: Comparing,
    folder: Path,
    workers: launch.Workers | None = None,
) -> list[Scored]:
    """Each side scored in one process by one config, or its own evaluation if it brings one.

    Raises ComparisonError if some bring predictions and others weights.
    """
    brought = [side.report for side in sides if side.report is not None]
    if brought and len(brought) < len(sides):
        raise ComparisonError(
            "one side is a file of predictions and the other is not; compare two of a kind"
        )
    if brought:
        return [Scored(side, report) for side, report in zip(sides, brought, strict=True)]
    if how.config is None:
        raise ComparisonError("these are weights, so data to score them on must be named")
    workers = workers or launch.Workers(launch.spec_for(how.config, how.catalog).preload)
    asked = [
        (role, str(data), split)
        for role, data, split in (
            ("target", how.config.data, how.split),
            ("source", how.config.source, SOURCE_SPLIT),
        )
        if data is not None
    ]
    requests = [
        (side.contender.checkpoint, _request(side, data, split, folder / f"{number}-{role}"))
        for number, side in enumerate(sides)
        for role, data, split in asked
    ]
    reports = iter(evaluate(home, how.config, requests, folder, workers, how.catalog))
    return [Scored(side, *(next(reports) for _ in asked)) for side in sides]


def evaluate_one(
    home: Home,
    side: Side,
    config: TrainConfig,
    split: str,
    workers: launch.Workers,
    catalog: Catalog = CATALOG,
) -> EvalReport:
    """Score one checkpoint on one split; predictions stay in a folder of the home."""
    return evaluate_each(home, [side], config, split, workers, catalog)[0]


def evaluate_each(
    home: Home,
    sides: Sequence[Side],
    config: TrainConfig,
    split: str,
    workers: launch.Workers,
    catalog: Catalog = CATALOG,
) -> list[EvalReport]:
    """The same of several checkpoints, in one process."""
    folder = home.work_dir(home.new_key("evaluate"))
    asked = [
        (
            side.contender.checkpoint,
            _request(side, str(config.data), split, folder / f"{at}-target"),
        )
        for at, side in enumerate(sides)
    ]
    return evaluate(home, config, asked, folder, workers, catalog)


def keep(home: Home, result: Comparison) -> Comparison:
    """The comparison with its pictures, in its folder and as a run of MLflow."""
    from backend.tracking.writer import log_comparison  # noqa: PLC0415 (MLflow is slow to import)

    folder = home.work_dir(result.key)
    folder.mkdir(exist_ok=True)
    result = _illustrated(folder, result)
    report = document(result)
    files = {"report.md": report.markdown(), "report.html": page(report)}
    write_atomic(folder / "comparison.json", result.model_dump_json(indent=2))
    for name, content in files.items():
        write_atomic(folder / name, content)
    log_comparison(home, result, files)
    return result


def _folder(home: Home, kind: str, how: Comparing) -> Path:
    if how.keep:
        home.prepare()
    return home.work_dir(home.new_key(kind))


def _illustrated(folder: Path, result: Comparison) -> Comparison:
    """The units that changed most, drawn into ``gallery`` below the folder."""
    pictures = []
    for number, pair in enumerate(gallery.pairs(result.target), start=1):
        path = folder / "gallery" / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        pair.image.save(path, quality=88)
        pictures.append(Picture(unit=pair.unit, key=f"gallery/{path.name}", path=str(path)))
    target = result.target.model_copy(update={"pictures": tuple(pictures)})
    return result.model_copy(update={"target": gallery.named(target)})


def _request(side: Side, data: str, split: str, out: Path) -> EvalRequest:
    path = side.contender.checkpoint.path
    return EvalRequest(checkpoint=path, data=data, split=split, out=str(out))


def _weights(baseline: Side, candidate: Side) -> tuple[LayerChange, ...]:
    old, new = (Path(s.contender.checkpoint.path) for s in (baseline, candidate))
    if {old.suffix, new.suffix} != {".safetensors"}:
        return ()
    return weights_moved(old, new)
