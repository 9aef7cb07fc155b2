"""A checkpoint scored, and what its experts and its language gate do."""

from pathlib import Path

from backend.core.events import Event, ExpertsObserved, MetricsLogged
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.core.workdir import write_atomic
from backend.datasets import DetectionSplit
from backend.runner.device import resolve_device
from backend.trainers.moe_rtdetr.asking import language_report
from backend.trainers.moe_rtdetr.checkpoint import Saved, read_checkpoint
from backend.trainers.moe_rtdetr.evaluation import (
    Ask,
    look,
    score,
    scores_of,
    solo_ap,
    write_experts,
)
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.learner import restored
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.validation import Cost

EVALUATION = "evaluation"


def evaluate(
    saved: Saved,
    split: DetectionSplit,
    request: EvalRequest,
    config: MoeRtDetrConfig,
    analyze: bool,
) -> tuple[EvalReport, tuple[Event, ...]]:
    """Score a checkpoint as ``config`` asks, and tell what its experts do; ``analyze``: also
    each expert alone and, with a language gate, each prompt."""
    learner = restored(saved.asked_by(config.language)).to(resolve_device(config.device, 1))
    observer = Observer(saved.classes, saved.moe)
    report = score(learner, split, request, config, observer)
    events: list[Event] = []
    experts = observer.report(split.split, saved.step, saved.epoch)
    if experts is not None:
        cost = Cost.of(learner, config.model_copy(update={"model": saved.model, "moe": saved.moe}))
        told = {
            "per_class": {name: row["mAP50-95"] for name, row in report.per_class.items()},
            "gflops": cost.gflops,
            "dense_gflops": cost.dense_gflops,
            "solo_ap": solo_ap(learner, split, Ask.of(config)) if analyze else None,
        }
        experts = experts.model_copy(update=told)
        write_experts(Path(request.out), experts)
        events.append(ExpertsObserved(report=experts, final=True))
    if learner.language is not None and analyze and not config.prompt:
        prompts = Prompts(saved.classes, saved.moe.named_groups)
        first = _stage_one_map(split, config)
        language = language_report(learner, split, Ask.of(config), prompts, first)
        write_atomic(Path(request.out) / "language.json", language.model_dump_json(indent=1))
        events.append(
            MetricsLogged(step=saved.step, epoch=saved.epoch, metrics=language.metrics())
        )
    return report, tuple(events)


def evaluate_best(
    config: MoeRtDetrConfig, split: DetectionSplit, work_dir: Path, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    """The final evaluation of a run, with all that ``analyze`` asks for."""
    request = EvalRequest(
        checkpoint=str(best), data=str(config.data), split=split.split,
        out=str(work_dir / EVALUATION),
    )  # fmt: skip
    return evaluate(read_checkpoint(best), split, request, config, config.analyze != "never")


def _stage_one_map(split: DetectionSplit, config: MoeRtDetrConfig) -> float | None:
    """What the checkpoint that stage 2 started from reaches here; None if it is gone."""
    path = Path(config.model.pretrained)
    if not config.language.enabled or not path.is_file():
        return None
    saved = read_checkpoint(path)
    if saved.classes != split.classes:
        return None
    learner = restored(saved).to(resolve_device(config.device, 1))
    return scores_of(split, look(learner, split, Ask.of(config))).metrics[SPEC.primary]
