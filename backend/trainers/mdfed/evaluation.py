"""A network looked at over a split, and its evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.core.errors import CheckpointError, DataError
from backend.core.events import PredictionsObserved
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, EvalRequest
from backend.datasets.spotting import ReadOptions, SpottingSplit, read_spotting
from backend.runner.device import resolve_device
from backend.scoring.files import settings_of
from backend.scoring.spotting.evidence import SpottingEvidence
from backend.scoring.spotting.matching import Clip
from backend.scoring.spotting.task import TASK, match
from backend.scoring.tasks import save_evidence
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.checkpoint import Facts, Saved
from backend.trainers.mdfed.data import Sample, Tiles, collate
from backend.trainers.mdfed.evidence import histograms
from backend.trainers.mdfed.inference import (
    ClipWindows,
    decoder_of,
    found_in,
    look,
    options_of,
    truth_of,
    write_predictions,
    write_truth,
)
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import MdFed, build_network
from backend.trainers.mdfed.spec import SPEC, MdFedConfig
from backend.trainers.mdfed.weights import load

EVALUATION = "evaluation"


@dataclass(frozen=True)
class Judged:
    """What was found in the clips of a split, matched to the truth. ``losses`` are means over all
    frames, empty if they were not asked for."""

    split: SpottingSplit
    config: MdFedConfig
    windows: ClipWindows
    clips: tuple[Clip, ...]
    evidence: SpottingEvidence
    losses: dict[str, float]

    def observed(self, step: int, auroc: float | None) -> PredictionsObserved:
        """What both heads say beside the truth; ``auroc`` is ``auroc_frame`` of the scores."""
        rule = decoder_of(self.config.inference, self.split)
        shown = histograms(self.split.elements, self.windows, self.clips, rule, auroc)
        return PredictionsObserved(step=step, split=self.split.name, histograms=shown)


def read_split(config: MdFedConfig, name: str, data: Path | None = None) -> SpottingSplit:
    """A split of the config's dataset, or of another folder. Raises DataError."""
    options = ReadOptions(
        separator=config.separator,
        stride=config.clips.stride,
        skeletons=config.skeletons.pose_dir,
        groups=config.groups,
        few_shot=config.clips.few_shot,
        seed=config.seed,
    )
    return read_spotting(data or config.data, name, options)


def batches(windows: Sequence[Sample] | Tiles, size: int) -> Iterator[Batch]:
    """Windows in their order, ``size`` at a time."""
    for start in range(0, len(windows), size):
        yield collate([windows[at] for at in range(start, min(start + size, len(windows)))])


def judge(
    network: MdFed, tiles: Tiles, split: SpottingSplit, config: MdFedConfig,
    criterion: Criterion | None = None,
) -> Judged:  # fmt: skip
    """Look at every tile, decode and match."""
    rule = decoder_of(config.inference, split)
    seen = look(network, batches(tiles, config.runner.batch), split.stride, rule, criterion)
    clips = found_in(seen.windows, truth_of(split), rule)
    evidence = match(split.elements, clips, options_of(config.inference))
    return Judged(split, config, seen.windows, clips, evidence, dict(seen.losses))


def require_numbers(clips: Sequence[Clip], source: Path) -> None:
    """Raises DataError if a clip's scores are no numbers: nothing could be said of its events."""
    lost = [c.name for c in clips if c.scores is None or not np.isfinite(c.scores).all()]
    if lost:
        raise DataError(
            f"{source}: the scores of {len(lost):,} of {len(clips):,} clips are no numbers "
            f"({', '.join(lost[:5])}); look for NaN in their skeleton files, else in the weights"
        )


def restored(saved: Saved, config: MdFedConfig) -> MdFed:
    """The network of a checkpoint, in evaluation mode. Raises CheckpointError."""
    network = build_network(saved.fitting(config), len(saved.elements))
    load(network, saved, saved.elements)
    return network.to(resolve_device(config.device, 1)).eval()


def conditions(facts: Facts, split: SpottingSplit, config: MdFedConfig) -> Conditions:
    """What decides the numbers of ``evaluate`` besides the weights.

    Raises CheckpointError if the checkpoint names other elements than the data.
    """
    if facts.elements != split.elements:
        other = sorted(set(facts.elements) ^ set(split.elements)) or ["their order"]
        raise CheckpointError(
            f"{split.source}: the checkpoint was trained on other elements "
            f"({', '.join(other[:5])}); evaluate it on data with its own elements.txt"
        )
    how = config.inference
    settings = settings_of(options_of(how)) | {
        "stride": str(split.stride),
        "length": str(facts.length),
        **{
            name: str(getattr(how, name)) for name in ("overlap", "suppress", "order", "threshold")
        },
        "missing": config.skeletons.missing,
    }
    return Conditions(data_digest=split.digest, evaluator=TASK.evaluator, settings=settings)


def evaluate(saved: Saved, request: EvalRequest, config: MdFedConfig) -> EvalReport:
    """Score a checkpoint; predictions, truth and evidence are written to ``request.out``.

    Raises DataError and CheckpointError.
    """
    config = saved.fitting(config)
    split = read_split(config, request.split, Path(request.data))
    known = conditions(saved, split, config)
    out = Path(request.out)
    out.mkdir(parents=True, exist_ok=True)
    judged = judge(
        restored(saved, config), Tiles(split, config, config.inference.overlap), split, config
    )
    require_numbers(judged.clips, split.source)
    write_truth(out / "ground_truth.json", split)
    write_predictions(out / "predictions.json", split.elements, judged.clips)
    save_evidence(out / "evidence.npz", SPEC.task, judged.evidence)
    found = judged.evidence.scores()
    return EvalReport(
        task=SPEC.task,
        trainer=SPEC.kind,
        checkpoint=request.checkpoint,
        data=request.data,
        split=split.name,
        **dict(known),
        classes=split.elements,
        unit=TASK.unit,
        units=len(split.clips),
        metrics=found.metrics,
        per_class=found.per_class,
        predictions=str(out / "predictions.json"),
        ground_truth=str(out / "ground_truth.json"),
        evidence=str(out / "evidence.npz"),
        warnings=(*split.notes, *found.warnings),
    )
