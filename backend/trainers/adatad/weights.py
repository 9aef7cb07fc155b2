"""The network that a training starts from: its sizes, its weights, and what of it trains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, ConfigError
from backend.nn.finetune.weights import read_facts
from backend.trainers.adatad.checkpoint import Saved, read_checkpoint
from backend.trainers.adatad.loading import (
    CLASS_HEAD,
    LoadReport,
    find_file,
    load_into,
    read_tensors,
)
from backend.trainers.adatad.model.geometry import PRESETS, Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.selection import Mode, Selection, adapter_of, group_of, select
from backend.trainers.adatad.spec import SPEC, AdaTadConfig


@dataclass(frozen=True)
class Start:
    """A network, and what of it is to train.

    ``report`` is None if nothing was loaded. ``source`` tells pretrained weights apart;
    ``notes`` are warnings, ``remarks`` are not.
    """

    network: AdaTad
    report: LoadReport | None
    selection: Selection
    source: str = "none"
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Tensors to start from. ``unnamed``: they do not tell which classes their outputs are for;
    ``other_classes``: for none of ours."""

    path: Path
    tensors: Mapping[str, Tensor]
    unnamed: bool = False
    other_classes: bool = False
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def geometry_of(config: AdaTadConfig, classes: Sequence[str]) -> Geometry:
    """The sizes that a config asks for. Raises ConfigError for those that do not fit together."""
    preset, model = PRESETS[config.model.preset], config.model
    made = replace(
        preset,
        classes=len(classes),
        adapter=adapter_of(_mode(config)),
        adapter_ratio=model.adapter_ratio,
        drop_path=model.drop_path,
        detector_width=model.detector_width or preset.detector_width,
        detector_drop_path=model.detector_drop_path,
        chunkwise=config.freeze.strategy == "head-only" and not config.frames.augment,
    )
    _require_multiple("windows.length", config.windows.length, made.multiple)
    _require_multiple("frames.size", config.frames.size, made.patch)
    return made


def start(config: AdaTadConfig, classes: Sequence[str]) -> Start:
    """The network that the config asks for, for these classes; the seed is set before.

    Raises CheckpointError for a file that does not fit, and ConfigError for sizes or a selection
    that do not.
    """
    network = AdaTad(geometry_of(config, classes))
    selection = select(network, _mode(config), config.freeze.layers)
    if config.model.pretrained is None:
        return Start(network, None, selection, notes=tuple(_random_notes(selection)))
    source = _opened(config.model.pretrained, network, classes)
    report = load_into(network, source.tensors, str(source.path))
    if source.other_classes:
        report = _with_replaced(report)
    return Start(
        network,
        report,
        selection,
        source=sha256(source.path),
        notes=(*source.notes, *_loading_notes(source, report, selection)),
        remarks=(*source.remarks, *report.lines()),
    )


def _mode(config: AdaTadConfig) -> Mode:
    return config.freeze.strategy  # type: ignore[return-value]  # the config knows them


def _require_multiple(key: str, value: int, of: int) -> None:
    if value % of:
        lower = value // of * of
        near = f"{lower} or {lower + of}" if lower else str(of)
        raise ConfigError(
            f"{key} is {value}, which this network cannot cut into whole parts of {of}; set {near}"
        )


def _opened(name_or_path: str, network: AdaTad, classes: Sequence[str]) -> _Source:
    """Public weights, or those of a checkpoint of ours. Raises CheckpointError."""
    path = find_file(name_or_path)
    if _is_ours(path):
        return _of_ours(read_checkpoint(path), network, classes)
    return _Source(path, read_tensors(path), unnamed=True)


def _is_ours(path: Path) -> bool:
    try:
        return read_facts(path).get("trainer") == SPEC.kind
    except CheckpointError:
        return False  # the one who reads it says what it is


def _of_ours(saved: Saved, network: AdaTad, classes: Sequence[str]) -> _Source:
    """Its class outputs go by name. Adapters of another kind or width are left out: a half of
    one would not be the identity at the start."""
    tensors, (old, new) = dict(saved.weights), (saved.geometry, network.geometry)
    notes, remarks = [], []
    if old.adapter != "none" and (old.adapter, old.hidden) != (new.adapter, new.hidden):
        tensors = {name: one for name, one in tensors.items() if group_of(name) != "adapter"}
        notes.append(
            f"{saved.path.name}: its adapters ({old.adapter}, {old.hidden} channels) are not "
            "those of this network and were left out; its detector was trained with them"
        )
    known = [name for name in classes if name in saved.classes]
    if tuple(classes) != saved.classes:
        remarks.append(_class_words(saved, classes, known))
        for name in tensors.keys() & CLASS_HEAD if known else ():
            tensors[name] = _rows(tensors[name], network.state_dict()[name], saved, classes)
    others = () if known else CLASS_HEAD
    tensors = {name: one for name, one in tensors.items() if name not in others}
    return _Source(
        saved.path,
        tensors,
        other_classes=not known,
        notes=tuple(notes),
        remarks=tuple(remarks),
    )


def _rows(theirs: Tensor, ours: Tensor, saved: Saved, classes: Sequence[str]) -> Tensor:
    """The output of each of our classes: theirs by name, else as it is. Of another width it is
    left to be refused."""
    if theirs.shape[1:] != ours.shape[1:]:
        return theirs
    rows = ours.clone()
    for at, name in enumerate(classes):
        if name in saved.classes:
            rows[at] = theirs[saved.classes.index(name)]
    return rows


def _class_words(saved: Saved, classes: Sequence[str], known: Sequence[str]) -> str:
    if not known:
        return f"{saved.path.name}: none of its classes is here, so their outputs start fresh"
    new = [name for name in classes if name not in known]
    fresh = f"; fresh are {', '.join(new)}" if new else ""
    return f"{saved.path.name}: {len(known)} of {len(classes)} classes keep their outputs{fresh}"


def _with_replaced(report: LoadReport) -> LoadReport:
    """The class head was left out because its classes are others, not because it is missing."""
    return replace(
        report,
        missing=tuple(name for name in report.missing if name not in CLASS_HEAD),
        replaced=(*report.replaced, *CLASS_HEAD),
    )


def _random_notes(selection: Selection) -> Iterator[str]:
    if selection.frozen:
        yield (
            f"{selection.mode} freezes {len(selection.frozen)} tensors at random values: nothing "
            "was loaded (model.pretrained)"
        )


def _loading_notes(source: _Source, report: LoadReport, selection: Selection) -> Iterator[str]:
    """What a person must know."""
    if lost := sorted(selection.frozen & report.new):
        yield (
            f"{source.path.name}: {len(lost)} tensors of the backbone are not in it and stay "
            f"frozen at random values, for example {lost[0]}"
        )
    if source.unnamed and CLASS_HEAD[0] in report.loaded:
        yield (
            f"{source.path.name} does not name its classes: they are taken for those of the "
            "data, in their order"
        )
