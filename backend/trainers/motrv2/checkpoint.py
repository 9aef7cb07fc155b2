"""Checkpoints of this trainer, and the reference's: what is needed to build the network again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.datasets.tracking.records import Identities, TrackingSplit
from backend.nn.finetune.weights import load_weights, parse_facts, read_facts
from backend.runner.device import resolve_device
from backend.trainers.motrv2 import checkpoint_format
from backend.trainers.motrv2.checkpoint_format import geometry_of, with_both_names
from backend.trainers.motrv2.loading import load_weights_into
from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.previous import put_back, split_previous
from backend.trainers.motrv2.spec import SPEC, Motrv2Config

SUFFIX = ".safetensors"
UNNAMED = ""
"""A class that a file of the reference has, but does not name."""


class Facts(BaseModel):
    """What a checkpoint says of itself, beside what the Runner adds.

    ``previous_classes`` are those that fine-tuning replaced, empty if it did not; a name is
    ``UNNAMED`` where the file did not tell it. ``untrained`` are parameters that came from no
    file and were not trained. ``short`` and ``long`` are the image sizes that
    it was trained on, ``detections`` whether with a detector's boxes; None: not told.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    trainer: Literal["motrv2"]
    classes: tuple[str, ...]
    previous_classes: tuple[str, ...] = ()
    geometry: Geometry
    untrained: tuple[str, ...] = ()
    identities: Identities = "file"
    short: int | None = None
    long: int | None = None
    detections: bool | None = None
    step: int = 0
    epoch: int = 0

    def fitting(self, config: Motrv2Config) -> Motrv2Config:
        """``config`` with the inputs that these weights belong to."""
        told = {
            "images.short": self.short,
            "images.long": self.long,
            "det_db.use": self.detections,
            "model.proposal_class": "embed" if self.geometry.proposal_classes else "ignore",
        }
        return config.replace({key: value for key, value in told.items() if value is not None})

    def knows(self, classes: Sequence[str]) -> Literal["now", "before"]:
        """Whether it tells these classes apart now, or did before it was fine-tuned.

        Raises CheckpointError if it never did.
        """
        if _same(self.classes, classes):
            return "now"
        if self.previous_classes and _same(self.previous_classes, classes):
            return "before"
        raise CheckpointError(
            f"the checkpoint was trained on {_words(self.classes)}, the data have "
            f"{_words(classes)}; use data of its own classes, in their order"
        )


class Saved(Facts):
    """A checkpoint, tensors and all: box heads under both names, replaced ones with ``previous``
    before theirs."""

    path: Path
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Known:
    """What a training knows of its network: see ``Facts``."""

    geometry: Geometry
    previous_classes: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()


def facts_of(config: Motrv2Config, known: Known, split: TrackingSplit) -> dict[str, object]:
    """What a checkpoint that was trained on ``split`` says of itself; JSON."""
    return {
        "trainer": SPEC.kind,
        "classes": list(split.classes),
        "identities": split.identities,
        "short": config.images.short,
        "long": config.images.long,
        "detections": config.det_db.use,
        **asdict(known),
    }


def read_checkpoint(path: Path) -> Saved:
    """A checkpoint of this trainer, or (any other suffix) one of the reference.

    Raises CheckpointError that says what it is instead.
    """
    if path.suffix == SUFFIX:
        weights, facts = load_weights(path)
        told = {**facts, "path": path, "weights": with_both_names(weights)}
        return parse_facts(Saved, SPEC.kind, path, told)
    source = checkpoint_format.read_checkpoint(path)
    geometry = geometry_of(source)
    return Saved(
        trainer="motrv2",
        classes=(UNNAMED,) * geometry.classes,
        geometry=geometry,
        path=path,
        weights=dict(source.state),
    )


def facts_at(path: Path) -> Facts:
    """A checkpoint's facts, without its tensors. Raises as ``read_checkpoint``."""
    if path.suffix != SUFFIX:
        return read_checkpoint(path)
    return parse_facts(Facts, SPEC.kind, path, read_facts(path))


def restored(saved: Saved, config: Motrv2Config, classes: Sequence[str]) -> Motr:
    """The network, in evaluation mode on the config's device; with the classifiers that it had
    before fine-tuning if ``classes`` are those. Raises CheckpointError."""
    geometry, state = saved.geometry, saved.weights
    if saved.knows(classes) == "before":
        geometry, state = put_back(geometry, state)
    else:
        state, _ = split_previous(state)
    network = filled(Motr(geometry), state, saved.path)
    return network.to(resolve_device(config.device, 1)).eval()


def with_previous_heads(learner: ClipLearner) -> Motr:
    """A network in training with the classifiers that it had before, for its source domain; it
    must have replaced some. A copy, in evaluation mode on the same device."""
    state = learner.state_dict()
    geometry, state = put_back(learner.geometry, state)
    network = filled(Motr(geometry), state, Path("the network"))
    return network.to(learner.position.weight.device).eval()


def filled(network: Motr, state: dict[str, Tensor], source: Path) -> Motr:
    """The network with every one of its tensors from ``state``. Raises CheckpointError."""
    report = load_weights_into(network, state, source=source)
    if report.new:
        missing = sorted(report.new)
        raise CheckpointError(
            f"{source}: {len(missing)} tensors are missing or of another shape, for example "
            f"{missing[0]}"
        )
    return network


def _same(ours: Sequence[str], others: Sequence[str]) -> bool:
    """Are these the same names in the same order, as far as we know ours?"""
    return len(ours) == len(others) and all(
        one in (UNNAMED, other) for one, other in zip(ours, others, strict=True)
    )


def _words(classes: Sequence[str]) -> str:
    if not any(classes):
        return f"{len(classes)} unnamed class{'es' if len(classes) != 1 else ''}"
    names = [name or "an unnamed one" for name in classes]
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    shown = names if not more else names[:4]
    return f"{len(names)} class{'es' if len(names) != 1 else ''} ({', '.join(shown)}{more})"
