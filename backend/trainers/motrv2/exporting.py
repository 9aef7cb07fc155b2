"""A checkpoint in the reference's own layout, for its tools."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, StoreError
from backend.core.exporting import check_request, report_of
from backend.core.trainer import EvalRequest, ExportReport, ExportRequest
from backend.core.workdir import write_atomic
from backend.datasets.tracking.records import TrackingSplit
from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.checkpoint import Saved, filled, read_checkpoint, restored
from backend.trainers.motrv2.checkpoint_format import CLASS_VECTORS, write_original
from backend.trainers.motrv2.evaluation import read_split
from backend.trainers.motrv2.judging import judge
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.previous import split_previous
from backend.trainers.motrv2.spec import METRICS, SPEC, Motrv2Config

SIZE = 256
PROPOSALS = 8
SCORED = 512
"""Frames that both track, about."""


def export(request: ExportRequest, config: Motrv2Config) -> ExportReport:
    """Write the checkpoint to ``request.out`` as the reference saves its own, and the report to
    the same name with ``.json``.

    The file is read again: its tensors must be equal to the bit, the outputs of both networks
    are compared on noise and, with data, both track some of its sequences. Raises ConfigError
    for the request, and DataError, CheckpointError and StoreError, then with nothing written.
    """
    out = Path(request.out)
    check_request(request, SPEC.kind, {SPEC.kind: SPEC.exports})
    saved = read_checkpoint(Path(request.checkpoint))
    state, before = split_previous(saved.weights)
    split = _split(request, config, saved)
    temporary = out.with_name(f".{out.stem}.pth")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        told = write_original(temporary, state)
        written = read_checkpoint(temporary)
        _check_equal(out, saved, written)
        reference, metrics = (_scores(one, split, config) for one in (saved, written))
        report = ExportReport(
            checkpoint=request.checkpoint,
            format=request.format,
            path=str(out),
            sha256=sha256(temporary),
            bytes=temporary.stat().st_size,
            difference=_difference(saved, written),
            metrics=metrics,
            reference=reference,
            facts={"entries": len(written.weights), "classes": ", ".join(saved.classes)},
            warnings=(*_left_out(state, told), *_replaced(before, saved), *_scored_on(split)),
        )
        write_atomic(report_of(out), report.model_dump_json(indent=2) + "\n")
        temporary.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return report


def _split(request: ExportRequest, config: Motrv2Config, saved: Saved) -> TrackingSplit | None:
    """What both are to track: sequences, evenly over val, of not much more than ``SCORED``
    frames; None without data."""
    if not request.data:
        return None
    asked = EvalRequest(checkpoint=request.checkpoint, data=request.data, split="val", out="")
    (split,) = read_split(saved.fitting(config), asked, saved).splits
    saved.knows(split.classes)
    count = max(1, round(len(split.sequences) * min(1, SCORED / max(1, split.frames))))
    places = np.linspace(0, len(split.sequences) - 1, count).round().astype(int).tolist()
    some = tuple(split.sequences[place] for place in places)
    left_out = len(split.sequences) - len(some)
    notes = (f"scored on {len(some)} of {len(split.sequences)} sequences",) if left_out else ()
    return replace(split, sequences=some, notes=(*split.notes, *notes))


def _scores(saved: Saved, split: TrackingSplit | None, config: Motrv2Config) -> dict[str, float]:
    """The metrics of this trainer."""
    if split is None:
        return {}
    fitting = saved.fitting(config).replace({"tracker.sweep": ()})
    found = judge(restored(saved, fitting, split.classes), split, fitting).scores.metrics
    return {spec.name: value for spec in METRICS if (value := found.get(spec.name)) is not None}


def _scored_on(split: TrackingSplit | None) -> tuple[str, ...]:
    if split is None:
        return ("without data: the outputs were compared on noise, and nothing was scored",)
    return split.notes


def _check_equal(out: Path, saved: Saved, written: Saved) -> None:
    """Every tensor of the file, but for ours that it cannot have. Raises CheckpointError."""
    state, _ = split_previous(saved.weights)
    wanted = {name: tensor for name, tensor in state.items() if not name.startswith(CLASS_VECTORS)}
    if wanted.keys() != written.weights.keys() or not all(
        torch.equal(tensor, written.weights[name]) for name, tensor in wanted.items()
    ):
        raise CheckpointError(
            f"{out}: not written, because its tensors differ from the checkpoint's; report this"
        )


def _left_out(state: dict[str, torch.Tensor], told: tuple[str, ...]) -> tuple[str, ...]:
    names = [name for name in state if name.startswith(CLASS_VECTORS)]
    if not names:
        return ()
    effect = (
        "the file answers otherwise: it does not know the proposals' classes"
        if told
        else "it is zero, so nothing changes"
    )
    return (f"left out, as the format has no place for it: {', '.join(names)}; {effect}",)


def _replaced(before: dict[str, torch.Tensor], saved: Saved) -> tuple[str, ...]:
    if not before:
        return ()
    count = len(saved.previous_classes)
    classes = f"{count} classes" if count != 1 else "the class"
    return (f"left out: {len(before)} tensors of {classes} that it knew before it was fine-tuned",)


@torch.inference_mode()
def _difference(saved: Saved, written: Saved) -> float:
    """The highest absolute difference of logits and boxes on one image of noise."""
    found = []
    for one in (saved, written):
        network = Motr(one.geometry)
        state, _ = split_previous(one.weights)
        filled(network, state, one.path).eval()
        frame = _noise(saved.geometry.proposal_classes)
        queries = network.new_queries(frame)
        found.append(
            network.decode(network.encode(frame.image[None]), queries.content, queries.anchors)
        )
    first, second = found
    return max(
        float((first.logits - second.logits).abs().max()),
        float((first.boxes - second.boxes).abs().max()),
    )


def _noise(classes: int) -> Frame:
    """An image with proposals, of each class in turn."""
    chance = torch.Generator().manual_seed(0)
    boxes = torch.rand(PROPOSALS, 4, generator=chance) * 0.4 + 0.1
    labels = torch.arange(PROPOSALS) % classes if classes else torch.full((PROPOSALS,), -1)
    return Frame(
        image=torch.randn(3, SIZE, SIZE, generator=chance),
        boxes=torch.empty(0, 4),
        labels=torch.empty(0, dtype=torch.int64),
        ids=torch.empty(0, dtype=torch.int64),
        proposals=boxes,
        proposal_scores=torch.rand(PROPOSALS, generator=chance),
        proposal_classes=labels,
    )
