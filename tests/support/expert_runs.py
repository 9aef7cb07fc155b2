"""Made runs with experts, to look at and to test on. Every number comes from a small simulation.

A router's logits are drawn for objects and background, sent through softmax and top-k, and
counted as the records define it; nothing here is measured on a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.core.experts import Affinity, ExpertLoss, ExpertReport, RouterReport
from backend.core.records import Checkpoint, Run, RunStatus, Series, StudyRecord, TrialRecord
from tests.support.memory_store import NOON, MemoryStore

Floats = NDArray[np.float64]
CLASSES = ("car", "truck", "bus", "person", "bicycle", "motorcycle")
SIZES = ("small", "medium", "large")
_PRIOR = np.array([0.34, 0.12, 0.10, 0.18, 0.13, 0.13])
_SIZE_OF_CLASS = np.array([1, 2, 2, 0, 0, 0])
A = {name: (name,) for name in CLASSES}
B = {
    "vehicles": ("car", "truck", "bus"),
    "people": ("person",),
    "two_wheelers": ("bicycle", "motorcycle"),
}
TWELVE = {f"{name}_{part}": (name,) if part == "near" else () for name in CLASSES
          for part in ("near", "far")}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What is simulated. ``pull`` is how strongly training teaches objects their expert, 0 for
    an unsupervised router; expert ``dead`` loses its tokens from ``dies`` on."""

    groups: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(A))
    k: int = 2
    validations: int = 10
    layers: int = 2
    pull: float = 3.0
    dead: int | None = None
    dies: float = 0.4
    tokens: int = 1500
    absent: tuple[str, ...] = ()
    final: bool = True
    seed: int = 0

    @property
    def owners(self) -> list[int]:
        """The expert in charge of each class."""
        names = list(self.groups)
        found = {c: names.index(g) for g, members in self.groups.items() for c in members}
        return [found[name] for name in CLASSES]


def made_reports(scene: Scene) -> list[ExpertReport]:
    """One report per validation, then that of the final evaluation, at the last step."""
    shares = [(i + 1) / scene.validations for i in range(scene.validations)]
    reports = [_report(scene, share, i) for i, share in enumerate(shares)]
    if not scene.final:
        return reports
    return [*reports, reports[-1].model_copy(update={"solo_ap": _solo(scene, reports[-1])})]


def _report(scene: Scene, share: float, number: int) -> ExpertReport:
    """What the experts do when ``share`` of the training is over."""
    rng = np.random.default_rng([scene.seed, number])
    labels = rng.choice(len(CLASSES) + 1, scene.tokens, p=[*(_PRIOR * 0.4), 0.6])
    labels[np.isin(labels, [CLASSES.index(name) for name in scene.absent])] = len(CLASSES)
    routers, weights = [], np.zeros((scene.tokens, len(scene.groups)))
    for name in ("token", *(f"query/{i}" for i in range(scene.layers))):
        logits = _logits(scene, labels, share, rng)
        router, weights = _routed(name, logits, scene.k)
        routers.append(router)
    matched = labels < len(CLASSES)
    by_class = _affinity(CLASSES, labels[matched], weights[matched])
    by_size = _affinity(SIZES, _SIZE_OF_CLASS[labels[matched]], weights[matched])
    losses = _losses(scene, by_class, share, rng)
    return ExpertReport(
        split="val", step=(number + 1) * 50, epoch=number + 1, images=120,
        experts=tuple(scene.groups), groups=tuple(scene.groups.values()), classes=CLASSES,
        k=scene.k, supervised=scene.pull > 0, routers=tuple(routers),
        classes_to_experts=by_class, sizes_to_experts=by_size,
        alignment=_alignment(scene, by_class, micro=False),
        alignment_micro=_alignment(scene, by_class, micro=True),
        specialisation=_specialisation(by_class), losses=losses,
        train_losses=tuple(loss.total * (0.75 + rng.normal(0, 0.02)) for loss in losses),
        per_class=_average_precision(by_class, share, rng),
        gflops=1.05 + 0.18 * scene.k, dense_gflops=1.06 + 0.18 * scene.k,
    )  # fmt: skip


def _logits(
    scene: Scene, labels: "NDArray[np.int64]", share: float, rng: np.random.Generator
) -> Floats:
    experts = len(scene.groups)
    logits = rng.normal(0, 1.1, (len(labels), experts)) + rng.normal(0, 0.25, experts)
    owners = np.array([*scene.owners, 0])
    objects = labels < len(CLASSES)
    learned = scene.pull * (1 - math.exp(-4 * share))
    logits[objects, owners[labels[objects]]] += learned
    if scene.dead is not None and share >= scene.dies:
        logits[:, scene.dead] -= 9
    return logits


def _routed(name: str, logits: Floats, k: int) -> tuple[RouterReport, Floats]:
    """A router's report and the dense weights [N, E], from its logits [N, E]."""
    tokens, experts = logits.shape
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    p = shifted / shifted.sum(1, keepdims=True)
    chosen = np.argsort(-logits, axis=1)[:, :k]
    weights = np.zeros_like(p)
    np.put_along_axis(weights, chosen, np.take_along_axis(p, chosen, 1), 1)
    weights /= weights.sum(1, keepdims=True)
    counts = np.bincount(chosen.ravel(), minlength=experts)
    usage, mean_p = counts / counts.sum(), p.mean(0)
    limit = min(2.0, (1 + experts / k) / 2)
    report = RouterReport(
        name=name, tokens=tokens, counts=tuple(counts.tolist()), usage=tuple(usage.tolist()),
        importance=tuple(weights.mean(0).tolist()), probability=tuple(mean_p.tolist()),
        routing_entropy=float(_entropy(p).mean()), usage_entropy=float(_entropy(usage)),
        gate_entropy=float(_entropy(weights).mean()),
        load_balance=float(experts * (usage * mean_p).sum()),
        z_loss=float(np.square(np.log(np.exp(logits).sum(1))).mean()),
        max_violation=float(counts.max() / counts.mean() - 1),
        dead=_numbers(usage < 0.1 / experts), unused=_numbers(counts == 0),
        overloaded=_numbers(usage > limit / experts),
    )  # fmt: skip
    return report, weights


def _numbers(mask: "NDArray[np.bool_]") -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())


def _entropy(p: Floats) -> Floats:
    return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)


def _affinity(rows: tuple[str, ...], labels: "NDArray[np.int64]", weights: Floats) -> Affinity:
    objects = [int((labels == row).sum()) for row in range(len(rows))]
    matrix = [
        tuple(weights[labels == row].mean(0).tolist()) if count else None
        for row, count in enumerate(objects)
    ]
    return Affinity(rows=rows, objects=tuple(objects), matrix=tuple(matrix))


def _seen(affinity: Affinity) -> tuple[Floats, Floats]:
    """The rows with objects, and how many each has."""
    found = [(r, n) for r, n in zip(affinity.matrix, affinity.objects, strict=True) if r]
    return np.array([row for row, _ in found]), np.array([n for _, n in found], dtype=float)


def _alignment(scene: Scene, affinity: Affinity, *, micro: bool) -> float:
    rows = zip(affinity.matrix, affinity.objects, scene.owners, strict=True)
    own, counts = zip(*((r[owner], n) for r, n, owner in rows if r), strict=True)
    return float(np.average(own, weights=counts if micro else None))


def _specialisation(affinity: Affinity) -> float | None:
    rows, _ = _seen(affinity)
    if min(rows.shape) < 2:
        return None
    return float((_entropy(rows.mean(0)) - _entropy(rows).mean()) / math.log(min(rows.shape)))


def _losses(
    scene: Scene, affinity: Affinity, share: float, rng: np.random.Generator
) -> tuple[ExpertLoss, ...]:
    total = sum(affinity.objects)
    found = []
    for expert in range(len(scene.groups)):
        objects = sum(
            n for n, owner in zip(affinity.objects, scene.owners, strict=True) if owner == expert
        )
        each = (2.2 + 0.3 * expert % 1.1) * math.exp(-1.6 * share) + 0.8 + rng.normal(0, 0.04)
        parts = {"vfl": 0.3, "bbox": 0.35, "giou": 0.35}
        whole = each * objects / total
        found.append(
            ExpertLoss(
                **{name: whole * part for name, part in parts.items()},
                total=whole, objects=objects, per_object=each if objects else None,
            )
        )  # fmt: skip
    return tuple(found)


def _average_precision(
    affinity: Affinity, share: float, rng: np.random.Generator
) -> dict[str, float | None]:
    tops = (0.66, 0.55, 0.58, 0.42, 0.4, 0.36)
    return {
        name: top * (1 - math.exp(-2.6 * share)) + float(rng.normal(0, 0.01)) if count else None
        for name, top, count in zip(affinity.rows, tops, affinity.objects, strict=True)
    }


def _solo(scene: Scene, report: ExpertReport) -> tuple[tuple[float | None, ...], ...]:
    """AP that falls with the weight that the one expert is given by the objects of a class."""
    weights = report.classes_to_experts.matrix
    return tuple(
        tuple(
            None if row is None else (report.per_class[name] or 0.0) * math.sqrt(row[expert])
            for name, row in zip(report.classes, weights, strict=True)
        )
        for expert in range(len(scene.groups))
    )


def mean_ap(report: ExpertReport) -> float:
    """The mean over the classes that have objects."""
    known = [ap for ap in report.per_class.values() if ap is not None]
    return sum(known) / len(known)


def add_expert_run(
    store: MemoryStore, key: str, letter: str, reports: Sequence[ExpertReport], number: int = 0,
    **changes: object,
) -> Run:  # fmt: skip
    """A run of the MoE trainer with these reports, put into the store."""
    last = reports[-1]
    run = _run(key, letter, last.k, mean_ap(last), number).model_copy(
        update={"epochs": last.epoch, "best_epoch": last.epoch} | changes
    )
    run = run.model_copy(
        update={"best": run.best | {"cost/gflops": last.gflops,
                                    "cost/dense_gflops": last.dense_gflops}}
    )  # fmt: skip
    store.run_list.append(run)
    store.expert_reports[key] = list(reports)
    steps = dict.fromkeys(report.step for report in reports)
    store.curves[key, "val/mAP50-95"] = Series(
        steps=tuple(steps), times=tuple(run.started + step for step in steps),
        values=tuple(mean_ap(next(r for r in reports if r.step == step)) for step in steps),
    )  # fmt: skip
    store.saved[key] = [
        Checkpoint(path=f"/made/{key}/{step}.safetensors", sha256=f"{step:064x}", step=step,
                   epoch=step // 50, run=key) for step in steps
    ]  # fmt: skip
    return run


def add_dense_run(
    store: MemoryStore, key: str, score: float, number: int = 0, k: int = 2, **changes: object
) -> Run:
    """The dense model of the same cost."""
    gflops = 1.06 + 0.18 * k
    run = _run(key, "dense", k, score, number)
    best = run.best | {"cost/gflops": gflops, "cost/dense_gflops": gflops}
    store.run_list.append(run.model_copy(update={"best": best} | changes))
    return store.run_list[-1]


def _run(
    key: str, letter: str, k: int, score: float, number: int, status: RunStatus = "finished"
) -> Run:
    started = NOON + 700 * number
    return Run(
        key=key, mlflow_run_id=f"{number:032x}", name=key, trainer="moe_rtdetr", status=status,
        started=started, ended=started + 350, headline="val/mAP50-95", epochs=10, best_epoch=10,
        metrics={"val/mAP50-95": score}, best={"val/mAP50-95": score},
        params={"kind": "moe_rtdetr", "moe.experts": letter, "moe.top_k": str(k), "seed": "0",
                "data": "/made/traffic", "model.preset": "tiny", "epochs": "10",
                "moe.hidden": "512", "model.pretrained": "none"},
        work_dir=f"/made/work/{key}",
    )  # fmt: skip


def expert_store(validations: int = 10) -> MemoryStore:
    """Runs A, B and a dense one, a study over top-k, a collapsed run and one that is training."""
    store = MemoryStore()
    add_dense_run(store, "dense", 0.545, number=1)
    made = {
        "experts-a": ("A", Scene(validations=validations)),
        "experts-b": ("B", Scene(groups=B, validations=validations, seed=1)),
        "dead": ("A", Scene(validations=validations, dead=5, pull=0.0, seed=2)),
        "all-of-three": ("B", Scene(groups=B, k=3, validations=validations, seed=3)),
        "twelve": ("custom", Scene(groups=TWELVE, validations=validations, seed=4)),
        "one-pass": ("A", Scene(validations=1, final=False, absent=("bus",), seed=5)),
    }
    for number, (key, (letter, scene)) in enumerate(made.items(), start=2):
        add_expert_run(store, key, letter, made_reports(scene), number)
    live = made_reports(Scene(validations=validations, seed=6))[: max(2, validations // 2)]
    add_expert_run(store, "training", "A", live, 9, status="running", ended=None)
    store.study_list.append(top_k_study(store))
    return store


def top_k_study(store: MemoryStore, name: str = "moe_top_k") -> StudyRecord:
    """A study of A, B and dense at top-k 1, 2, 3, with a run behind every trial."""
    trials = []
    for number in range(9):
        letter, k = ("A", "B", "dense")[number // 3], number % 3 + 1
        key = f"{name}-{number}"
        more = {"study": name, "trial": number}
        if letter == "dense":
            run = add_dense_run(store, key, 0.50 + 0.02 * k, -number, k, **more)
        else:
            groups = dict(A if letter == "A" else B)
            reports = made_reports(Scene(groups=groups, k=k, validations=3, seed=20 + number))
            run = add_expert_run(store, key, letter, reports, -number, **more)
        trials.append(
            TrialRecord(
                number=number, state="complete", value=run.best[run.headline], run=key,
                params={"moe.experts": letter, "moe.top_k": k}, started=run.started,
            )
        )  # fmt: skip
    best = max(trials, key=lambda trial: trial.value or 0.0)
    return StudyRecord(
        name=name, metric="val/mAP50-95", direction="maximize", target=9, trials=tuple(trials),
        best=best.number, description="Made records: configurations against top-k",
    )  # fmt: skip
