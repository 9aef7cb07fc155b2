"""A checkpoint in the formats of those who deploy it.

What was made is read back and compared with the checkpoint before it is written: its raw outputs
on the same images and, with data, its scores by our own evaluator.
"""

import copy
import hashlib
import importlib.metadata
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core import digest
from backend.core.errors import AssayError, CheckpointError, ConfigError, StoreError, TrainingError
from backend.core.events import FileSaved, Noted
from backend.core.exporting import SUFFIXES, check_request, report_of
from backend.core.trainer import Emit, ExportReport, ExportRequest
from backend.core.workdir import write_atomic
from backend.scoring.detection import task as detection
from backend.trainers.yolo.capture import capture, join_classes, read_image
from backend.trainers.yolo.dataset import Split
from backend.trainers.yolo.device import resolve_device
from backend.trainers.yolo.evaluation import settings_of
from backend.trainers.yolo.model import Source, load_network
from backend.trainers.yolo.onnx_graph import LICENSE, GraphOptions, OnnxNetwork, onnx_graph
from backend.trainers.yolo.predictor import Detector, Framed, Image, Settings, frame
from backend.trainers.yolo.spec import SPEC, YoloConfig

FOLDER = "export"
TOLERANCE = 1e-3
"""Of a raw output: pixels of boxes, shares of class scores."""
ROUNDINGS = 20
"""A network that magnifies rounding errors may differ by so many times its own: onnxruntime rounds
more than torch, 2 to 6 times as much on the networks that were measured."""
MAP_TOLERANCE = 0.005
COMPARED = 4
"""Images whose raw outputs are compared."""
SCORED = 512
"""Most images that both are scored on, spread over the split: onnxruntime runs on the CPU."""

Network = Callable[[Tensor], Any]
"""Its answer is the output, or a tuple that begins with it."""


@dataclass(frozen=True)
class Made:
    """A file's content, and the network that it was read back as. ``square``: it takes images of
    one size only."""

    content: bytes
    network: Any
    square: bool
    facts: dict[str, bool | int | float | str]


def export(request: ExportRequest, config: YoloConfig, split: Split | None) -> ExportReport:
    """Write the checkpoint to ``request.out``, and the report to the same name with ``.json``.

    ``split`` is what both are scored on, or None. Raises ConfigError before the work for missing
    packages and wrong names, and CheckpointError, with nothing written, if the file does not
    answer like the checkpoint.
    """
    out = Path(request.out)
    check_request(request, SPEC.kind, {SPEC.kind: SPEC.exports})
    network, source = load_network(Path(request.checkpoint), config.trust_pickle)
    made = _make(network, source, config.imgsz, request)
    settings = replace(settings_of(config), square=made.square)
    some = _spread(split, SCORED) if split else None
    stride = max(int(network.stride.max()), 32)
    images = [frame(image, config.imgsz, stride, made.square) for image in _images(some, config)]
    difference, note = _compared(out, network, made.network, images)
    reference, metrics = _scores((network, made.network), source.names, some, settings, config)
    _check_scores(out, reference, metrics)
    report = ExportReport(
        checkpoint=request.checkpoint,
        format=request.format,
        path=str(out),
        sha256=hashlib.sha256(made.content).hexdigest(),
        bytes=len(made.content),
        difference=difference,
        metrics=metrics,
        reference=reference,
        facts={
            **made.facts,
            "compared_images": len(images),
            "framing": f"{config.imgsz}x{config.imgsz}" if made.square else "as evaluated",
            "license": LICENSE,
        },
        warnings=(*note, *_warnings(split, some), *_replaced(out, made.content)),
    )
    _write(out, made.content, report)
    return report


def export_best(config: YoloConfig, work_dir: Path, best: Path, split: Split, emit: Emit) -> None:
    """The best checkpoint of a finished training in the formats of ``config.export``, called as
    it is, so that the name tells the epoch.

    A failure is told and not raised: the training is done. A process that dies here (memory) is
    started again by its parent; what it died of is not tried a second time, until somebody
    resumes the run.
    """
    parent = str(os.getppid())
    for name in config.export:
        out = work_dir / FOLDER / f"{best.stem}{SUFFIXES[name]}"
        begun = out.with_name(f".{out.name}.begun")
        request = ExportRequest(
            checkpoint=str(best), format=name, out=str(out), data=str(config.data)
        )
        told: FileSaved | Noted
        try:
            if begun.exists() and begun.read_text(encoding="utf-8") == parent:
                raise TrainingError("its process died")
            begun.parent.mkdir(exist_ok=True)
            begun.write_text(parent, encoding="utf-8")
            told = _saved(export(request, config, split), work_dir)
        except Exception as error:  # noqa: BLE001 (whatever it is, the training is done)
            why = error if isinstance(error, AssayError) else f"{type(error).__name__}: {error}"
            again = f"assay export {work_dir.name} --format {name}"
            message = f"the export to {name} failed ({why}); to try again: {again}"
            told = Noted(level="warning", message=message)
        begun.unlink(missing_ok=True)
        emit(told)


def _saved(report: ExportReport, work_dir: Path) -> FileSaved:
    path = Path(report.path).relative_to(work_dir).as_posix()
    facts = dict(report.facts)
    if report.difference is not None:
        facts["difference"] = report.difference
    facts |= report.metrics | {f"checkpoint {name}": v for name, v in report.reference.items()}
    return FileSaved(path=path, kind=report.format, sha256=report.sha256, facts=facts)


def _make(network: Any, source: Source, imgsz: int, request: ExportRequest) -> Made:
    if request.format == "ultralytics":
        return _pickled(network, imgsz)
    stride = int(network.stride.max())
    if imgsz % stride:
        raise ConfigError(f"imgsz {imgsz}: this network takes multiples of {stride}")
    content, facts = onnx_graph(network, GraphOptions(imgsz, request.dynamic, source.sha256))
    return Made(content, OnnxNetwork(content), not request.dynamic, facts)


def _pickled(network: Any, imgsz: int) -> Made:
    """As ``ultralytics.YOLO`` loads it, safely too: with full precision and without paths."""
    version = importlib.metadata.version("ultralytics")
    content = {
        **{"epoch": -1, "best_fitness": None, "ema": None, "updates": None, "optimizer": None},
        **{"model": copy.deepcopy(network), "train_args": {"task": "detect", "imgsz": imgsz}},
        **{"version": version, "license": LICENSE, "docs": "https://docs.ultralytics.com"},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "made.pt"
        file.write_bytes(buffer.getvalue())
        again, _ = load_network(file)
    return Made(buffer.getvalue(), again, False, {"ultralytics": version, "imgsz": imgsz})


def _spread(split: Split, most: int) -> Split:
    """At most so many of its images, evenly over the split."""
    places = np.linspace(0, len(split.examples) - 1, min(most, len(split.examples))).round()
    return replace(split, examples=tuple(split.examples[int(place)] for place in places))


def _images(split: Split | None, config: YoloConfig) -> list[Image]:
    """Images of the split, or noise."""
    if split:
        return [read_image(example) for example in _spread(split, COMPARED).examples]
    shape = (COMPARED, config.imgsz, config.imgsz, 3)
    return list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def _compared(
    out: Path, network: Any, other: Any, images: Sequence[Framed]
) -> tuple[float, tuple[str, ...]]:
    """How far the outputs differ, and a note if that is much. Raises CheckpointError if it is more
    than rounding can explain: what double precision changes in the network's own answers."""
    difference = _difference(network, other, images)
    if difference < TOLERANCE:
        return difference, ()
    exact = copy.deepcopy(network).double()
    rounding = _difference(network, lambda batch: exact(batch.double()), images)
    if not difference < ROUNDINGS * rounding:  # NaN, too
        raise CheckpointError(
            f"{out}: not written, because its outputs differ from the checkpoint's by "
            f"{difference:.2g} (expected at most {TOLERANCE:g}); report this"
        )
    return difference, (
        f"the outputs differ by up to {difference:.2g}, because this network magnifies rounding "
        f"errors: double precision changes its own outputs by {rounding:.2g}",
    )


@torch.inference_mode()
def _difference(one: Network, other: Network, images: Sequence[Framed]) -> float:
    """The highest absolute difference of their outputs; NaN if an output is no number."""
    found = []
    for image in images:
        batch = torch.from_numpy(image.pixels)[None].float() / 255
        found.append((_output(one, batch) - _output(other, batch)).abs().max())
    return float(torch.stack(found).max())


def _output(network: Network, batch: Tensor) -> Tensor:
    output = network(batch)
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def _scores(
    networks: Sequence[Any],
    names: Sequence[str],
    split: Split | None,
    settings: Settings,
    config: YoloConfig,
) -> list[dict[str, float]]:
    """The metrics of each, asked and judged as in an evaluation."""
    if split is None:
        return [{} for _ in networks]
    classes = join_classes(names, split)
    found = []
    for network in networks:
        batch = 1 if settings.square else config.batch
        detector = Detector(network, resolve_device(config.device), batch)
        scores = detection.evaluate(*capture(detector, split, classes, settings)).scores()
        found.append({name: v for name, v in scores.metrics.items() if v is not None})
    return found


def _check_scores(out: Path, reference: dict[str, float], metrics: dict[str, float]) -> None:
    for name in (SPEC.primary, "mAP50"):
        change = metrics.get(name, math.nan) - reference.get(name, math.nan)
        if name in reference and not abs(change) < MAP_TOLERANCE:
            raise CheckpointError(
                f"{out}: not written, because its {name} differs from the checkpoint's by "
                f"{change:+.4f} (expected less than {MAP_TOLERANCE}); report this"
            )


def _warnings(split: Split | None, some: Split | None) -> tuple[str, ...]:
    if split is None or some is None:
        return ("without data: the outputs were compared on noise, and nothing was scored",)
    notes = list(split.notes)
    if len(some.examples) < len(split.examples):
        notes.append(f"scored on {len(some.examples)} of {len(split.examples)} images")
    return tuple(notes)


def _replaced(out: Path, content: bytes) -> Iterator[str]:
    """An earlier export of this name; the same one again is none."""
    if out.exists() and (before := digest.sha256(out)) != hashlib.sha256(content).hexdigest():
        yield f"it took the place of an earlier export of this name (sha256 {before[:12]})"


def _write(out: Path, content: bytes, report: ExportReport) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out.parent}: cannot be made ({error.strerror})") from error
    beside = report_of(out)
    try:
        write_atomic(beside, report.model_dump_json(indent=2) + "\n")
        write_atomic(out, content)
    except StoreError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
