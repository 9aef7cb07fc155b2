"""Old versus new: find both sides, score them today by the same code, and compare."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend import launch
from backend.analysis import comparison, report
from backend.analysis.comparison import ComparisonSettings
from backend.analysis.weights import weights_moved
from backend.catalog import CATALOG, Catalog, load_config
from backend.config.schema import TrainConfig
from backend.core.digest import sha256
from backend.core.errors import CheckpointError, ComparisonError
from backend.core.records import Checkpoint, Comparison, Contender, EvalReport, LayerChange
from backend.core.store import RunStore
from backend.core.trainer import EvalRequest
from backend.core.workdir import WorkDir, write_atomic
from backend.tracking.home import Home

SOURCE_SPLIT = "val"
"""Where forgetting is measured: every dataset has it, and no fine-tuning trial has used it."""


@dataclass(frozen=True)
class Side:
    """A checkpoint and the config that it was trained by (None: not known)."""

    contender: Contender
    config: TrainConfig | None


def find_side(home: Home, store: RunStore, text: str, catalog: Catalog = CATALOG) -> Side:
    """What a user may call a checkpoint.

    A weight file; ``RUN`` (its best checkpoint), ``RUN@last`` or ``RUN@7`` (an epoch); or
    ``MODEL@champion`` (the registered model's). Raises CheckpointError or StoreError.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return _from_file(path.absolute(), catalog)
    if path.suffix in {".safetensors", ".pt", ".pth"}:
        raise CheckpointError(f"{path}: no such weight file")
    name, _, which = text.partition("@")
    if which == "champion":
        champions = store.champions()
        if name not in champions:
            known = ", ".join(sorted(champions)) or "none yet"
            raise CheckpointError(
                f"no registered model '{name}' has a champion; there is: {known}"
            )
        return _from_file(Path(champions[name].path), catalog)
    return _from_run(home, store, name, which or "best", catalog)


def _from_run(home: Home, store: RunStore, name: str, which: str, catalog: Catalog) -> Side:
    run = store.run(name)
    checkpoints = store.checkpoints(run.key)
    if not home.work_dir(run.key).exists():
        raise CheckpointError(f"run {run.key}: its work folder {home.work_dir(run.key)} is gone")
    if not checkpoints:
        raise CheckpointError(f"run {run.key} has no checkpoint ({run.status}: {run.reason})")
    if which == "best":
        chosen = [c for c in checkpoints if run.best_epoch in (c.epoch, None)][-1:]
    elif which == "last":
        chosen = checkpoints[-1:]
    else:
        chosen = [c for c in checkpoints if str(c.epoch) == which]
    if not chosen:
        epochs = ", ".join(str(c.epoch) for c in checkpoints)
        raise CheckpointError(f"run {run.key} keeps no checkpoint '{which}'; epochs: {epochs}")
    config = load_config(home.work_dir(run.key) / "config.yaml", catalog=catalog)
    label = run.name if which == "best" else f"{run.name}@{which}"
    return Side(_contender(chosen[0], label, config), config)


def _from_file(path: Path, catalog: Catalog) -> Side:
    work = WorkDir(path.parent.parent)
    facts = _facts(path)
    checkpoint = Checkpoint(
        path=str(path),
        sha256=sha256(path),
        step=int(facts.get("step", 0)),
        epoch=int(facts.get("epoch", 0)),
    )
    if not work.run.exists():
        return Side(Contender(label=path.name, checkpoint=checkpoint, trainer=""), None)
    run = work.read_run()
    config = load_config(work.config, catalog=catalog)
    checkpoint = checkpoint.model_copy(update={"run": run.key})
    return Side(_contender(checkpoint, f"{run.name} {path.stem}", config), config)


def _facts(path: Path) -> dict[str, int]:
    """What the checkpoint's JSON says of its step and epoch; nothing for a foreign file."""
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.exists():
        return {}
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise CheckpointError(f"{beside}: damaged; restore it, or delete it to go on without")
    return {key: facts[key] for key in ("step", "epoch") if isinstance(facts.get(key), int)}


def _contender(checkpoint: Checkpoint, label: str, config: TrainConfig) -> Contender:
    return Contender(label=label, checkpoint=checkpoint, trainer=config.kind, params=config.flat())


def shared_config(
    baseline: Side | None, candidate: Side, overrides: Mapping[str, object], config: Path | None,
    catalog: Catalog = CATALOG,
) -> TrainConfig:  # fmt: skip
    """The one config by which both sides are scored: given, the candidate's or the baseline's."""
    if config is not None:
        return load_config(config, overrides, catalog)
    found = candidate.config or (baseline.config if baseline else None)
    if found is None:
        raise ComparisonError(
            "no checkpoint here comes from a run of this home, so the data and image size are "
            "unknown; name them with --config FILE"
        )
    kinds = {side.config.kind for side in (baseline, candidate) if side and side.config}
    if len(kinds) > 1:
        raise ComparisonError(f"checkpoints of different trainers: {', '.join(sorted(kinds))}")
    return found.replace(dict(overrides)) if overrides else found


@dataclass(frozen=True)
class Comparing:
    """What two sides are compared on: a config, a split, the statistics' settings."""

    config: TrainConfig
    split: str
    settings: ComparisonSettings
    catalog: Catalog = field(default_factory=lambda: CATALOG)


def compare(
    home: Home, baseline: Side, candidate: Side, how: Comparing, workers: launch.Workers
) -> Comparison:
    """Evaluate both sides on the target split, and on the source domain if there is one.

    The comparison, its evidence and a readable report go to MLflow and to the work directory.
    """
    home.prepare()
    folder = home.work_dir(home.new_key("compare"))
    reports = _evaluate(folder, baseline, candidate, how, workers)
    result = comparison.compare(
        key=folder.name,
        created=time.time(),
        contenders=(baseline.contender, candidate.contender),
        target=(reports[0], reports[1]),
        source=(reports[2], reports[3]) if len(reports) > 2 else None,
        weights=_weights(baseline, candidate),
        settings=how.settings,
    )
    _keep(home, folder, result)
    return result


def evaluate_one(
    home: Home,
    side: Side,
    config: TrainConfig,
    split: str,
    workers: launch.Workers,
    catalog: Catalog = CATALOG,
) -> EvalReport:
    """Score one checkpoint on one split; predictions stay in a folder of the home."""
    folder = home.work_dir(home.new_key("evaluate"))
    request = EvalRequest(
        checkpoint=side.contender.checkpoint.path,
        data=str(config.data),
        split=split,
        out=str(folder / "target"),
    )
    return launch.evaluate(config, [request], folder, workers, catalog)[0]


def _evaluate(
    folder: Path, baseline: Side, candidate: Side, how: Comparing, workers: launch.Workers
) -> list[EvalReport]:
    asked = (
        ("target", how.config.data, how.split),
        ("source", how.config.source, SOURCE_SPLIT),
    )
    requests = [
        EvalRequest(
            checkpoint=side.contender.checkpoint.path,
            data=str(data),
            split=split,
            out=str(folder / f"{name}-{role}"),
        )
        for role, data, split in asked
        if data is not None
        for name, side in (("baseline", baseline), ("candidate", candidate))
    ]
    return launch.evaluate(how.config, requests, folder, workers, how.catalog)


def _weights(baseline: Side, candidate: Side) -> tuple[LayerChange, ...]:
    old, new = (Path(s.contender.checkpoint.path) for s in (baseline, candidate))
    if {old.suffix, new.suffix} != {".safetensors"}:
        return ()
    return weights_moved(old, new)


def _keep(home: Home, folder: Path, result: Comparison) -> None:
    from backend.tracking.writer import log_comparison  # noqa: PLC0415 (MLflow is slow to import)

    text = report.markdown(result)
    write_atomic(folder / "comparison.json", result.model_dump_json(indent=2))
    write_atomic(folder / "report.md", text)
    log_comparison(home, result, text)
