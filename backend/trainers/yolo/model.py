"""From a config's ``model`` to a network that is ready to train, and from a checkpoint to one
that predicts. Nothing in a file is executed unless the user trusts it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.core.records import Record
from backend.nn.finetune.transfer import TransferReport, transfer
from backend.nn.finetune.weights import load_weights, parse_facts
from backend.scoring.detection.class_names import matched
from backend.trainers.yolo import architecture as arch
from backend.trainers.yolo.pickled import fetch, load_pt
from backend.trainers.yolo.sources import find_model
from backend.trainers.yolo.spec import SPEC, YoloConfig


class Facts(Record):
    """What a checkpoint says of itself. ``base`` sizes the head's hidden layers (classes);
    ``source`` is the sha256 of the model file that the training started from."""

    format: int = 1
    trainer: str = SPEC.kind
    architecture: dict[str, Any]
    names: tuple[str, ...]
    nc: int
    base: int
    imgsz: int
    epoch: int
    step: int
    metrics: dict[str, float] = Field(default_factory=dict)
    ultralytics: str
    source: str = ""


@dataclass(frozen=True)
class Source:
    """Weights and what they belong to. ``state`` is empty for a bare architecture."""

    path: Path
    sha256: str
    architecture: arch.Architecture
    names: tuple[str, ...]
    base: int
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class Prepared:
    """A network for the dataset's classes, its report of what was carried over, and notes."""

    network: Any
    source: Source
    base: int
    report: TransferReport | None
    notes: tuple[str, ...] = ()


def open_source(path: Path, trust: bool = False) -> Source:
    """Read a .safetensors of Assay, a .pt of Ultralytics or an architecture.

    Raises CheckpointError; a .pt that needs code to load is refused unless ``trust``.
    """
    if path.suffix in {".yaml", ".yml"}:
        architecture = arch.read_architecture(path)
        digest = hashlib.sha256(repr(sorted(architecture.items())).encode()).hexdigest()
        return Source(path, digest, architecture, (), 0, {})
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    if path.suffix not in {".safetensors", ".pt"}:
        raise CheckpointError(f"{path}: not a .safetensors, .pt or .yaml model file")
    source = _open_pt(path, trust) if path.suffix == ".pt" else _open_safetensors(path)
    for name, tensor in source.state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} holds values that are not numbers")
    return source


def _open_safetensors(path: Path) -> Source:
    state, raw = load_weights(path)
    facts = parse_facts(Facts, SPEC.kind, path, raw)
    return Source(path, sha256(path), facts.architecture, facts.names, facts.base, state)


def _open_pt(path: Path, trust: bool) -> Source:
    raw, names, state = load_pt(path, trust)
    architecture = arch.clean(raw, str(path))
    base = arch.base_classes(architecture, names, state, str(path))
    return Source(path, sha256(path), architecture, names, base, state)


def prepare(config: YoloConfig, names: Sequence[str]) -> Prepared:
    """The network that training starts from, for a dataset with the classes ``names``.

    Class outputs are carried over by class name. Raises CheckpointError, also where nothing
    of a checkpoint fits.
    """
    path = find_model(config)
    if config.allow_download and not path.is_file() and path.suffix == ".pt":
        fetch(path)
    source = open_source(path, config.trust_pickle)
    torch.manual_seed(config.seed)
    base = source.base or len(names)
    network = arch.build(source.architecture, names, base, str(path))
    if not source.state:
        return Prepared(network, source, base, None)
    rows, notes = _class_rows(network, source.names, tuple(names))
    report = transfer(network, source.state, rows)
    if not report.loaded:
        raise CheckpointError(f"{path}: none of its tensors fits the network it describes")
    return Prepared(network, source, base, report, (*notes, *_transfer_notes(report)))


def load_network(path: Path, trust: bool = False) -> tuple[Any, Source]:
    """A checkpoint's network as it was saved, ready to predict. Raises CheckpointError."""
    source = open_source(path, trust)
    if not source.state:
        raise CheckpointError(f"{path}: an architecture without weights cannot predict")
    with torch.random.fork_rng(devices=[]):
        network = arch.build(source.architecture, source.names, source.base, str(path))
    report = transfer(network, source.state)
    if report.fresh or report.unexpected:
        odd = (*report.fresh, *report.unexpected)
        raise CheckpointError(
            f"{path}: {len(odd)} tensors do not fit the architecture it describes, {odd[0]} first"
        )
    return network.eval(), source


def _class_rows(
    network: Any, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> tuple[dict[str, list[int | None]], tuple[str, ...]]:
    """Which class output of the source each of ours starts from."""
    if theirs == ours:
        return {}, ()
    rows = list(matched(ours, theirs))
    if all(row is None for row in rows):
        if len(theirs) != len(ours):
            return {}, ()
        return {}, (
            "the checkpoint knows none of the dataset's classes; as their number is the same, "
            "their outputs start from those of the checkpoint's classes in order",
        )
    return dict.fromkeys(arch.class_tensors(network), rows), ()


def _transfer_notes(report: TransferReport) -> tuple[str, ...]:
    if not report.fresh:
        return ()
    shown = ", ".join(report.fresh[:6]) + (", …" if len(report.fresh) > 6 else "")
    return (
        f"{len(report.fresh)} tensors do not fit the checkpoint (other classes) and start fresh, "
        f"wholly or in part; they are trained whatever is frozen: {shown}",
    )
