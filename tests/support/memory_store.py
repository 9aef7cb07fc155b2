"""A RunStore in memory, and made records to look at. Test data only: no number is measured."""

import hashlib
from collections.abc import Sequence

import numpy as np

from backend.core.comparisons import (
    Comparison,
    Contender,
    DataComparison,
    LayerChange,
    MetricDelta,
    Verdict,
)
from backend.core.diagnosis import Diagnosis
from backend.core.errors import StoreError
from backend.core.events import Event
from backend.core.experts import ExpertReport
from backend.core.records import (
    Checkpoint,
    EvalReport,
    PromotionDecision,
    Run,
    RunStatus,
    Series,
    StudyRecord,
    TrialRecord,
)

NOON = 1_790_000_000.0  # a fixed moment, so that made records never change
ENDINGS: dict[int, RunStatus] = {5: "pruned", 7: "failed", 9: "running"}
MODEL = "test-digits"
STRATEGIES = ("full", "backbone", "backbone+neck", "head-only")
LOSSES = ("train/box_loss", "train/cls_loss", "train/dfl_loss")
VALIDATION = ("val/mAP50-95", "val/mAP50", "val/precision", "val/recall")


class MemoryStore:
    """Holds records and hands them out. ``changed`` makes the next change token differ."""

    def __init__(self) -> None:
        self.run_list: list[Run] = []
        self.curves: dict[tuple[str, str], Series] = {}
        self.saved: dict[str, list[Checkpoint]] = {}
        self.expert_reports: dict[str, list[ExpertReport]] = {}
        self.diagnoses: dict[str, Diagnosis] = {}
        self.told: dict[str, tuple[Event, ...]] = {}
        self.study_list: list[StudyRecord] = []
        self.comparison_list: list[Comparison] = []
        self.decisions: list[PromotionDecision] = []
        self.aliases: dict[str, Checkpoint] = {}
        self.version = 0
        self.broken = ""

    def changed(self) -> None:
        """Something is different now."""
        self.version += 1

    def change_token(self) -> str:
        self._check()
        return str(self.version)

    def _check(self) -> None:
        if self.broken:
            raise StoreError(self.broken)

    def runs(self) -> list[Run]:
        self._check()
        return sorted(self.run_list, key=lambda run: -run.started)

    def run(self, key: str) -> Run:
        self._check()
        for field in ("key", "name", "mlflow_run_id"):
            hits = [run for run in self.run_list if getattr(run, field) == key]
            if len(hits) == 1:
                return hits[0]
        hits = [run for run in self.run_list if run.key.startswith(key)]
        if len(hits) != 1:
            raise StoreError(f"'{key}' matches {len(hits)} runs; give one run's key or name")
        return hits[0]

    def metric_names(self, keys: Sequence[str]) -> list[str]:
        self._check()
        return sorted({metric for key, metric in self.curves if key in set(keys)})

    def series(self, keys: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, str], Series]:
        self._check()
        wanted = [(key, metric) for key in keys for metric in metrics]
        return {pair: self.curves[pair] for pair in wanted if pair in self.curves}

    def checkpoints(self, key: str) -> list[Checkpoint]:
        self._check()
        return sorted(self.saved.get(key, []), key=lambda checkpoint: checkpoint.step)

    def experts(self, key: str) -> list[ExpertReport]:
        self._check()
        return list(self.expert_reports.get(self.run(key).key, []))

    def diagnosis(self, key: str) -> Diagnosis | None:
        self._check()
        return self.diagnoses.get(self.run(key).key)

    def evidence(self, key: str) -> tuple[Event, ...]:
        self._check()
        return self.told.get(self.run(key).key, ())

    def studies(self) -> list[StudyRecord]:
        self._check()
        return list(self.study_list)

    def comparisons(self) -> list[Comparison]:
        self._check()
        return sorted(self.comparison_list, key=lambda c: -c.created)

    def promotions(self, model: str | None = None) -> list[PromotionDecision]:
        self._check()
        chosen = [d for d in self.decisions if model is None or d.model == model]
        return sorted(chosen, key=lambda decision: -decision.created)

    def champions(self) -> dict[str, Checkpoint]:
        self._check()
        return dict(self.aliases)

    def replace_run(self, key: str, **changes: object) -> None:
        """One run with some fields changed."""
        self.run_list = [
            run.model_copy(update=changes) if run.key == key else run for run in self.run_list
        ]
        self.changed()

    def extend(self, key: str, metric: str, step: int, value: float) -> None:
        """One more point of a curve."""
        old = self.curves.get((key, metric), Series(steps=(), values=(), times=()))
        last = old.times[-1] if old.times else NOON
        self.curves[key, metric] = Series(
            steps=(*old.steps, step), values=(*old.values, value), times=(*old.times, last + 1)
        )
        self.changed()


def filled_store() -> MemoryStore:
    """Two studies of ten trials (complete, pruned, failed, running), comparisons, a champion."""
    store = MemoryStore()
    _add_study(store, "test-near-domain", seed=1, gain=0.06, day=0)
    _add_study(store, "test-new-domain", seed=2, gain=-0.09, day=1)
    near = [run for run in store.run_list if run.study == "test-near-domain"]
    far = [run for run in store.run_list if run.study == "test-new-domain"]
    store.comparison_list = [
        made_comparison(store, near[0], near[3], "better", 1.0),
        made_comparison(store, near[0], near[1], "undecided", 0.1),
        made_comparison(store, far[0], far[2], "worse", -1.0),
    ]
    champion = store.saved[near[3].key][-1]
    store.aliases = {MODEL: champion}
    store.decisions = [_decision(champion, store.comparison_list[0].key)]
    return store


def wide_store(runs: int = 10, metrics: int = 20, steps: int = 2000) -> MemoryStore:
    """Many long curves, for looking at speed."""
    store = MemoryStore()
    for r in range(runs):
        key = f"test-wide-{r:02d}"
        names = ["val/mAP50-95", *LOSSES, *(f"val/extra{i:02d}" for i in range(metrics - 4))]
        rng = np.random.default_rng(r)
        for i, name in enumerate(names):
            curve = np.exp(-np.arange(steps) / (300 + 40 * i)) + rng.normal(0, 0.03, steps)
            curve = 1 - curve if name.startswith("val/") else curve + 1
            store.curves[key, name] = _series(np.arange(1, steps + 1), curve, NOON)
        store.run_list.append(_run(key, f"wide {r}", r, "finished", STRATEGIES[r % 4], 1e-3))
        last = {name: store.curves[key, name].values[-1] for name in names}
        store.replace_run(key, metrics=last, best=last)
    return store


def _add_study(store: MemoryStore, name: str, seed: int, gain: float, day: int) -> None:
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(10):
        strategy = STRATEGIES[number % 4]
        rate = float(10 ** rng.uniform(-4, -1.7))
        decay = (0.5, 0.65, 0.8)[number % 3] if strategy == "full" and number > 3 else None
        status = ENDINGS.get(number, "finished")
        key = f"{name}-{number:02d}"
        run = _run(key, f"{name} #{number}", number, status, strategy, rate, decay, name, day)
        top = 0.62 + gain * STRATEGIES.index(strategy) / 3 - 0.05 * abs(np.log10(rate) + 3)
        store.run_list.append(_with_curves(store, run, float(top), rng))
        trials.append(_trial(store.run_list[-1], strategy, rate, decay))
    done = [t for t in trials if t.value is not None]
    store.study_list.append(
        StudyRecord(
            name=name, metric="val/mAP50-95", direction="maximize", target=12,
            trials=tuple(trials), best=max(done, key=lambda t: t.value or 0).number,
            importances={"freeze.strategy": 0.58, "optimizer.lr0": 0.33, "layer_decay": 0.09},
            description="Made records for tests: freezing strategy against learning rate",
        )
    )  # fmt: skip


def _run(
    key: str,
    name: str,
    number: int,
    status: RunStatus,
    strategy: str,
    rate: float,
    decay: float | None = None,
    study: str = "",
    day: int = 0,
) -> Run:
    started = NOON + 86400 * day + 700 * number
    reasons = {"failed": "CUDA out of memory at batch 64", "pruned": "worse than the median"}
    return Run(
        key=key, mlflow_run_id=hashlib.sha256(key.encode()).hexdigest()[:32], name=name,
        trainer="yolo", status=status, started=started,
        ended=None if status == "running" else started + 412,
        study=study, trial=number if study else None, epochs=24, headline="val/mAP50-95",
        reason=reasons.get(status, ""), work_dir=f"/made/work/{key}",
        params={
            "kind": "yolo", "seed": "0", "epochs": "24", "batch": "16", "imgsz": "160",
            "freeze.strategy": strategy, "optimizer.name": "AdamW", "optimizer.lr0": f"{rate!r}",
            "optimizer.layer_decay": "" if decay is None else str(decay),
            "optimizer.weight_decay": "0.0005", "augment.mosaic": "1.0",
            "data": f"/made/digits/{study or 'target'}.yaml", "model": "/made/source.safetensors",
        },
    )  # fmt: skip


def _with_curves(store: MemoryStore, run: Run, top: float, rng: np.random.Generator) -> Run:
    epochs = {"pruned": 8, "failed": 2, "running": 13}.get(run.status, 24)
    per_epoch = 40
    steps = np.arange(1, epochs * per_epoch + 1)
    for i, name in enumerate(LOSSES):
        curve = (2.4 - 0.5 * i) * np.exp(-steps / 260) + 0.7 + rng.normal(0, 0.06, len(steps))
        store.curves[run.key, name] = _series(steps, curve, run.started)
    rate = float(run.params["optimizer.lr0"]) * (1 - steps / (24 * per_epoch) * 0.99)
    store.curves[run.key, "lr/head"] = _series(steps, rate, run.started)
    ends = np.arange(1, epochs + 1) * per_epoch
    for i, name in enumerate(VALIDATION):
        ceiling = min(0.97, top + (0, 0.24, 0.2, 0.16)[i])
        curve = ceiling * (1 - np.exp(-ends / 190)) + rng.normal(0, 0.008, epochs)
        store.curves[run.key, name] = _series(ends, curve, run.started)
    metrics = {m: store.curves[run.key, m].values[-1] for m in (*LOSSES, *VALIDATION)}
    best = int(np.argmax(store.curves[run.key, "val/mAP50-95"].values))
    at_best = {m: store.curves[run.key, m].values[best] for m in VALIDATION}
    if run.status == "failed":
        return run.model_copy(update={"metrics": metrics})
    store.saved[run.key] = [
        _checkpoint(run, epoch, per_epoch, at_best) for epoch in sorted({best + 1, epochs})
    ]
    return run.model_copy(update={"metrics": metrics, "best": at_best, "best_epoch": best + 1})


def _checkpoint(run: Run, epoch: int, per_epoch: int, metrics: dict[str, float]) -> Checkpoint:
    return Checkpoint(
        path=f"{run.work_dir}/checkpoints/epoch-{epoch:03d}.safetensors", sha256=f"{epoch:064x}",
        step=epoch * per_epoch, epoch=epoch, run=run.key, metrics=metrics,
    )  # fmt: skip


def _series(steps: "np.ndarray", values: "np.ndarray", started: float) -> Series:
    return Series(
        steps=tuple(int(s) for s in steps),
        values=tuple(float(v) for v in values),
        times=tuple(float(started + 0.4 * s) for s in steps),
    )


def _trial(run: Run, strategy: str, rate: float, decay: float | None) -> TrialRecord:
    state = {"finished": "complete", "stopped": "complete"}.get(run.status, run.status)
    params: dict[str, float | int | str | bool | None] = {
        "freeze.strategy": strategy,
        "optimizer.lr0": rate,
    }
    if strategy in ("full", "backbone"):
        params["layer_decay"] = decay is not None
    if decay is not None:
        params["optimizer.layer_decay"] = decay
    return TrialRecord(
        number=run.trial or 0, state=state, params=params, run=run.key,
        value=run.best.get(run.headline) if state == "complete" else None,
        started=run.started, ended=run.ended, note=run.reason,
    )  # fmt: skip


def made_delta(name: str, base: float, change: float, verdict: Verdict) -> MetricDelta:
    """A difference with an interval that fits its verdict."""
    half = abs(change) * (0.6 if verdict in ("better", "worse") else 3) + 0.002
    wins = {"better": 0.991, "worse": 0.008}.get(verdict, 0.61)
    return MetricDelta(
        name=name, direction="maximize", baseline=base, candidate=base + change, delta=change,
        low=change - half, high=change + half, wins=wins, verdict=verdict,
    )  # fmt: skip


def _side(split: str, deltas: tuple[MetricDelta, ...], classes: bool) -> DataComparison:
    report = EvalReport(
        task="detection", trainer="yolo", checkpoint="/made/a.safetensors", split=split,
        data="/made/digits/target.yaml", data_digest="d1" * 32, evaluator="pycocotools 2.0.11",
        settings={"imgsz": "160", "conf": "0.001"}, units=64, metrics={},
    )  # fmt: skip
    wave = [0.04, -0.01, 0.06, 0.015, -0.03, 0.02, 0.05, 0.0, 0.033]
    per_class = tuple(
        made_delta(f"digit {i}", 0.6, w, "better" if w > 0.03 else "undecided")
        for i, w in enumerate(wave)
    )
    absent = MetricDelta(
        name="digit 9", direction="maximize", baseline=None, candidate=None, delta=None,
        low=None, high=None, wins=None, verdict="undecided",
    )  # fmt: skip
    return DataComparison(
        role="target" if classes else "source", data=report.data, split=split,
        data_digest=report.data_digest, evaluator=report.evaluator, unit="image", units=64,
        metrics=deltas, per_class=(*per_class, absent) if classes else (),
        baseline_report=report, candidate_report=report,
    )  # fmt: skip


def made_comparison(
    store: MemoryStore, old: Run, new: Run, verdict: Verdict, strength: float
) -> Comparison:
    """A whole comparison of two runs, with forgetting and moved weights."""
    names = ("mAP50-95", "mAP50", "precision", "recall")
    shifts = (0.031, 0.024, 0.012, -0.004)
    deltas = tuple(
        made_delta(n, 0.56 + 0.08 * i, s * strength, verdict if i < 2 else "undecided")
        for i, (n, s) in enumerate(zip(names, shifts, strict=True))
    )
    source = (made_delta("mAP50-95", 0.71, -0.05 * strength, "worse"),)
    layers = tuple(
        LayerChange(layer=f"model.{i}", parameters=1200 * (i + 1), relative=0.002 * i**1.4)
        for i in range(23)
    )
    skipped = LayerChange(layer="model.23", parameters=90, relative=None, note="other class count")
    return Comparison(
        key=f"test-comparison-{old.key}-{new.key}", created=NOON + 1000 * (1 + strength),
        baseline=_contender(store, old), candidate=_contender(store, new), primary="mAP50-95",
        confidence=0.95, margin=0.005, replicates=2000, seed=0,
        target=_side("holdout", deltas, classes=True), source=_side("val", source, classes=False),
        weights=(*layers, skipped),
        warnings=("One run per side: this speaks for these two weight files, not the recipe.",),
    )  # fmt: skip


def _contender(store: MemoryStore, run: Run) -> Contender:
    return Contender(
        label=run.name, checkpoint=store.saved[run.key][-1], trainer=run.trainer, params=run.params
    )


def _decision(checkpoint: Checkpoint, evidence: str) -> PromotionDecision:
    return PromotionDecision(
        key="test-decision-1", created=NOON + 9000, model=MODEL, checkpoint=checkpoint,
        policy={"min_delta": 0.0}, evidence=evidence, promote=True, version="2", previous="1",
        reasons=("mAP50-95 is better: +0.0310 [+0.0104, +0.0516]",),
    )  # fmt: skip
