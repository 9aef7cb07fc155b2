"""Made runs to look at on *Convergence*: healthy, sick, young, and trained elsewhere."""

from collections.abc import Sequence

import numpy as np

from backend.core.diagnosis import (
    Action,
    Change,
    Diagnosis,
    DiagnosticFinding,
    Fact,
    NotEvaluated,
    Shown,
)
from backend.core.events import Event, MetricsLogged, Recovered, RunFinished
from backend.core.evidence import PredictionHistogram
from backend.core.records import Checkpoint, Run, RunStatus, Series
from tests.support.evidence_made import BASELINES, Made, healthy, zeros
from tests.support.memory_store import NOON, MemoryStore

ELEMENTS = ("near", "far", "serve", "return", "stroke", "fh", "bh", "gs", "slice", "volley",
            "smash", "drop", "lob", "approach")  # fmt: skip
_SERVE = (0.5, 0.5, 0.28, 0.22, 0.5, 0.4, 0.32, 0.65, 0.04, 0.02, 0.01, 0.004, 0.007, 0.03)
_END = RunFinished(status="finished")
CLEAR = ("D01", "D02", "D05", "B05", "B06", "B11", "B12", "B13", "B19", "B20")


def convergence_store() -> MemoryStore:
    """A run of each kind, the healthy one newest."""
    store = MemoryStore()
    add_imported(store, "elsewhere", 1)
    add_made(store, "before-step-1", zeros().first(0), data_only(), 2, status="failed",
             end=RunFinished(status="failed", reason="D01", finding="D01"))  # fmt: skip
    add_made(store, "young", healthy().first(5), early(), 3, status="running", end=None)
    add_made(store, "diverged", diverged(), divergence(), 4, status="failed",
             end=RunFinished(status="failed", reason="stopped by B05", finding="B05"))  # fmt: skip
    add_made(store, "zeros", zeros(), blind_input(), 5)
    add_made(store, "unseen", healthy(seed=3), None, 6)
    add_made(store, "cured", healthy(seed=2), converged(), 7, recovered=True)
    add_made(store, "healthy", healthy(), converged(), 8)
    return store


def add_made(
    store: MemoryStore, key: str, made: Made, diagnosis: Diagnosis | None, number: int,
    status: RunStatus = "finished", end: RunFinished | None = _END,
    recovered: bool = False,
) -> Run:  # fmt: skip
    """A made course as the store would hold it: curves apart from what was told beside."""
    events = made.events()
    put_events(store, key, events if end is None else [*events, end], recovered=recovered)
    curves = {metric: s for (run, metric), s in store.curves.items() if run == key}
    edit = curves.get(made.headline)
    best = int(np.argmax(edit.values)) if edit else None
    store.run_list.append(
        Run(
            key=key, mlflow_run_id=f"{number:032x}", name=key, trainer=made.trainer,
            status=status, started=NOON + 700 * number, headline=made.headline, epochs=24,
            ended=None if status == "running" else NOON + 700 * number + 300,
            best_epoch=None if best is None else best + 1, work_dir=f"/made/work/{key}",
            metrics={name: series.values[-1] for name, series in curves.items()},
            best={} if edit is None or best is None else {made.headline: edit.values[best]},
            params={"kind": made.trainer, "data": "/made/rallies", "seed": "0"},
            tags=_tags(diagnosis),
        )
    )  # fmt: skip
    if edit and best is not None:
        store.saved[key] = [
            Checkpoint(path=f"/made/{key}/{step}.safetensors", sha256=f"{step:064x}", step=step,
                       epoch=step // made.per_epoch, run=key)
            for step in sorted({edit.steps[best], edit.steps[-1]})
        ]  # fmt: skip
    if diagnosis is not None:
        store.diagnoses[key] = diagnosis
    return store.run_list[-1]


def _tags(diagnosis: Diagnosis | None) -> dict[str, str]:
    """What the projection of a run leaves at it."""
    if diagnosis is None:
        return {}
    found = {f"finding.{finding.rule}": finding.severity for finding in diagnosis.findings}
    return {"diagnosis": diagnosis.verdict, **found}


def put_events(
    store: MemoryStore, key: str, events: Sequence[Event], recovered: bool = False
) -> None:
    """Events as curves and as what was told beside; the event head gets its elements' beside."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    told: list[Event] = [_ELSE] if recovered else []
    for event in events:
        if isinstance(event, MetricsLogged):
            for metric, value in event.metrics.items():
                steps, values = curves.setdefault(metric, ([], []))
                steps.append(event.step)
                values.append(value)
        else:
            told.append(_with_elements(event))
    store.told[key] = tuple(told)
    for metric, (steps, values) in curves.items():
        store.curves[key, metric] = Series(
            steps=tuple(steps), values=tuple(values), times=tuple(NOON + step for step in steps)
        )


_ELSE = Recovered(
    attempt=1, step=100, phase="train", kind="device", cause="out of memory",
    action="batch 8 to 4", requested={"batch": 8}, effective={"batch": 4},
)  # fmt: skip


def _with_elements(event: Event) -> Event:
    if event.type != "PredictionsObserved":
        return event
    said = event.histograms[0].predicted["event"] / 155
    truth = {name: round(155 * share) for name, share in zip(ELEMENTS, _SERVE, strict=True)}
    predicted = {name: round(count * said * (0.7 if count < 10 else 1.02))
                 for name, count in truth.items()}  # fmt: skip
    more = PredictionHistogram(output="elements", truth=truth, predicted=predicted)
    return event.model_copy(update={"histograms": (*event.histograms, more)})


def add_imported(store: MemoryStore, key: str, number: int) -> Run:
    """A run that others trained: losses and a headline over epochs, and nothing else."""
    epochs = np.arange(1, 41)
    rng = np.random.default_rng(5)
    curves = {
        "train/loss_cls": 0.9 * np.exp(-epochs / 9) + 0.2, "train/loss_bbox": 0.3 + 0.4 / epochs,
        "val/mAP": 0.62 * (1 - np.exp(-epochs / 8)) + rng.normal(0, 0.006, 40),
        "lr/base": 1e-3 * 0.5 ** (epochs // 12),
    }  # fmt: skip
    for metric, values in curves.items():
        store.curves[key, metric] = Series(
            steps=tuple(epochs.tolist()), values=tuple(values.tolist()),
            times=tuple((NOON + epochs).tolist()),
        )  # fmt: skip
    store.run_list.append(
        Run(key=key, mlflow_run_id=f"{number:032x}", name="elsewhere (mmengine)",
            trainer="mmengine", status="finished", started=NOON + 700 * number, epochs=40,
            headline="val/mAP", best_epoch=38, metrics={}, best={"val/mAP": 0.62})
    )  # fmt: skip
    return store.run_list[-1]


def diverged() -> Made:
    """The loss falls, then leaves for good; one part of the network explodes."""
    made = healthy(14)
    t = np.arange(14)
    away = np.where(t > 8, np.exp((t - 8) * 0.55), 1.0)
    losses = {name: made.curves[name] * away for name in made.curves if name.endswith("loss")}
    grads = {name: made.curves[name] * away**2 for name in made.curves if "gradient/" in name}
    edit = {"val/edit": np.where(t > 8, 4.0, made.curves["val/edit"])}
    clipped = {"train/clipped": np.where(t > 8, 0.95, 0.02),
               "train/grad_norm": made.curves["train/grad_norm"] * away**3}  # fmt: skip
    return made.replace(curves={**made.curves, **losses, **grads, **edit, **clipped})


def converged() -> Diagnosis:
    """The verdict of a healthy run."""
    info = DiagnosticFinding(
        rule="B16", title="Converged", severity="info", step=600, sure="likely",
        headline="Edit has not improved since epoch 18; the best is 87.2 at epoch 22.",
        evidence=(Fact(name="gain of the last 5 validations", value=0.3, limit=0.5, step=600),),
        curves=(Shown(key="val/edit", levels={"best": 87.2}),),
        action=Action(advice="Stop here. The parameter that mattered most is optimizer.lr.all."),
    )  # fmt: skip
    return Diagnosis(
        step=600, state="converged", verdict="Converged at epoch 18: Edit 87.2.",
        findings=(info,), clear=CLEAR, not_evaluated=_SKIPPED,
    )  # fmt: skip


def early() -> Diagnosis:
    """Too young to be judged."""
    return Diagnosis(
        step=125, state="early", verdict="Too early to say: 5 of 24 validations are done.",
        clear=CLEAR[:3], not_evaluated=_SKIPPED,
    )  # fmt: skip


def data_only() -> Diagnosis:
    """Stopped by a rule over the data, before the first step."""
    finding = DiagnosticFinding(
        rule="D01", title="Input files are missing", severity="stop", sure="proven", step=0,
        headline="160 of 160 skeleton files of train are not in data/skeletons.",
        cause="'skeletons.pose_dir' points to a folder without them; 160 files of the same names "
        "lie in data/poses",
        evidence=(Fact(name="missing in train", value=160, limit=0),
                  Fact(name="share", value="100 %", limit="50 %"),
                  Fact(name="first names", value="clip0.pkl, clip1.pkl, clip2.pkl")),
        action=Action(
            advice="Point to the folder that has the files.",
            changes=(Change(key="skeletons.pose_dir", now="data/skeletons",
                            proposed="data/poses"),),
            command="assay train config.yaml --set skeletons.pose_dir=data/poses",
        ),
    )  # fmt: skip
    return Diagnosis(step=0, state="sick", verdict="Stopped before the first step: 160 of 160 "
                     "skeleton files are missing.", findings=(finding,),
                     not_evaluated=_SKIPPED)  # fmt: skip


def blind_input() -> Diagnosis:
    """R1 of the specification: the skeletons are zeros, and everything follows from that."""
    cause = DiagnosticFinding(
        rule="D02", title="The input is degenerate", severity="error", sure="proven", step=0,
        headline="160 of 160 skeleton files are all zeros.",
        cause="the files are missing and 'skeletons.missing: zeros' replaced them without a word",
        evidence=(
            Fact(name="clips that are all zeros", value=160, limit=8),
            Fact(name="loss of the event head", value=0.4093, limit=0.3990, step=600),
            Fact(name="R with permuted inputs", value=1.0, limit=1.01, step=600),
        ),
        curves=(Shown(key="val/loss", levels={k: v["loss"] for k, v in BASELINES.items()}),
                Shown(key="val/lcl_loss",
                      levels={k: v["lcl_loss"] for k, v in BASELINES.items()})),
        action=Action(
            advice="Correct the folder; no learning rate or weight can help while the input is "
            "zero.",
            changes=(Change(key="skeletons.missing", now="zeros", proposed="error"),
                     Change(key="skeletons.pose_dir", now="", proposed="data/poses")),
            command="assay train /data/rallies/configs/mdfed-tennis-14-elements.yaml --set "
            "skeletons.missing=error --set skeletons.pose_dir=data/poses",
        ),
        silenced=("B01", "B03"),
    )  # fmt: skip
    imbalance = DiagnosticFinding(
        rule="D04", title="Classes are imbalanced", severity="warning", sure="possible", step=0,
        headline="Event frames are 3.5 % of the sampled frames and carry 15 % of the weight.",
        evidence=(Fact(name="share of positives", value=0.035, limit=0.05),
                  Fact(name="their weight q", value=0.153, limit=0.25)),
        action=Action(
            advice="Search over the weight of event frames.",
            search={"loss.fg_weight": (5, 10, 26.7, 30)},
            study="assay study run sweep --config config.yaml --over loss.fg_weight=5,10,26.7,30",
        ),
    )  # fmt: skip
    return Diagnosis(
        step=600, state="sick", findings=(cause, imbalance), clear=CLEAR[2:],
        verdict="Not learning: 160 of 160 skeleton files are all zeros.",
        also_seen=(
            DiagnosticFinding(rule="B01", title="Metric stuck at zero", severity="error",
                              headline="Edit, F1 event, element and LCL were 0 in all 24 "
                              "validations."),
            DiagnosticFinding(rule="B03", title="Trivial loss", severity="error", step=150,
                              headline="The loss (0.792) is that of a predictor that knows the "
                              "position only (0.762).",
                              curves=(Shown(key="val/mlc_loss", levels={"position": 0.363}),)),
        ),
        not_evaluated=_SKIPPED,
    )  # fmt: skip


def divergence() -> Diagnosis:
    """The loss left."""
    finding = DiagnosticFinding(
        rule="B05", title="Divergence", severity="error", step=275, sure="likely",
        headline="The loss rose to 15 times its best value after step 225.",
        cause="the updates are too large",
        evidence=(Fact(name="loss, smoothed", value=6.83, limit=0.66, step=275),),
        curves=(Shown(key="val/loss", levels={"1.5 times the best": 0.99}),
                Shown(key="train/grad_norm", levels={"clipped above": 5.0})),
        action=Action(
            advice="Go on from the best checkpoint with a third of the learning rate.",
            changes=(Change(key="runner.optimizer.lr.all", now=0.03, proposed=0.01),),
            command="assay train config.yaml --set runner.optimizer.lr.all=0.01",
            search={"runner.optimizer.lr.all": (0.01, 0.003, 0.001)},
            study="assay study run sweep --config config.yaml --over "
            "runner.optimizer.lr.all=0.01,0.003,0.001",
        ),
    )  # fmt: skip
    return Diagnosis(
        step=350,
        state="sick",
        verdict="Not learning: the loss diverged at step 275.",
        findings=(finding,),
        clear=CLEAR[:3],
        not_evaluated=_SKIPPED,
    )


_SKIPPED = (
    NotEvaluated(rule="B14", title="Experts", reason="the model has no experts"),
    NotEvaluated(rule="B15", title="Unsupported claim", reason="no comparison is stored"),
    NotEvaluated(rule="B09", title="Learning rate too low", reason="needs 10 validations"),
)
