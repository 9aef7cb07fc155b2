"""Pretrained weights into a network, and what came of them."""

from collections.abc import Sequence

from torch import nn

from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.nn.finetune.transfer import Rows, transfer
from backend.trainers.mdfed.checkpoint import NETWORK, Saved, read_checkpoint
from backend.trainers.mdfed.spec import MdFedConfig

NEEDED = {1: (1,), 2: (1,), 3: (2, 3)}
"""Stage to the stages whose checkpoints it may start from."""


def read_pretrained(config: MdFedConfig) -> Saved | None:
    """The checkpoint that ``model.pretrained`` names, if any.

    Raises CheckpointError for one of a stage that this one does not start from.
    """
    path = config.model.pretrained
    if path is None:
        return None
    saved = read_checkpoint(path)
    if saved.stage not in NEEDED[config.stage]:
        wanted = " or ".join(map(str, NEEDED[config.stage]))
        raise CheckpointError(
            f"{path}: a checkpoint of stage {saved.stage}, but stage {config.stage} starts from "
            f"one of stage {wanted}"
        )
    return saved


def load(network: nn.Module, saved: Saved, elements: Sequence[str]) -> tuple[str, ...]:
    """Fill a network; the classifier's rows go by the elements' names. What did not fit, in words.

    Raises CheckpointError if the encoder or the GRU is another one.
    """
    weights = {
        name.removeprefix(NETWORK): tensor
        for name, tensor in saved.weights.items()
        if name.startswith(NETWORK)
    }
    report = transfer(network, weights, _rows(saved.elements, elements))
    body = [name for name in report.fresh if not name.startswith(("mlc.", "ctx."))]
    if body:
        raise CheckpointError(
            f"{saved.path}: another network ({_described(saved)}): {len(body)} tensors do not "
            f"fit, for example {body[0]}"
        )
    if not report.fresh:
        return ()
    new = [name for name in elements if name not in saved.elements]
    return (
        f"{saved.path.name}: {len(report.fresh)} tensors start anew, for example "
        f"{report.fresh[0]}"
        + (f"; elements that it does not know: {', '.join(new)}" if new else ""),
    )


def identity(saved: Saved | None) -> str:
    """What tells pretrained weights apart when a run is continued."""
    return sha256(saved.path) if saved else "none"


def _described(saved: Saved) -> str:
    """The config keys that made the body of a checkpoint's network."""
    said = f"model.preset {saved.model.preset}, model.fusion {saved.model.fusion}"
    if saved.stage == 1:
        return said
    return f"{said}, visual.size {saved.visual.size}, visual.width {saved.visual.width}"


def _rows(known: Sequence[str], wanted: Sequence[str]) -> Rows:
    places = [known.index(name) if name in known else None for name in wanted]
    return {f"mlc.{name}": places for name in ("weight", "bias")}
