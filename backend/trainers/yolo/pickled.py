"""Ultralytics' own .pt files, which are pickles and so may carry code."""

from pathlib import Path
from typing import Any

from torch import Tensor

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.errors import CheckpointError

from ultralytics.nn.tasks import BaseModel, torch_safe_load  # isort: skip
from ultralytics.utils.downloads import attempt_download_asset  # isort: skip


def load_pt(path: Path, trust: bool) -> tuple[dict[str, Any], tuple[str, ...], dict[str, Tensor]]:
    """Architecture, class names and float32 weights of a .pt.

    Only the classes of Ultralytics' own layers are rebuilt; any other content is refused and
    nothing is run, unless ``trust``. Raises CheckpointError.
    """
    try:
        content, _ = torch_safe_load(str(path), safe_only=not trust)
    except Exception as error:
        raise CheckpointError(_refusal(path, trust, error)) from error
    network = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(network, BaseModel):
        raise CheckpointError(f"{path}: holds no Ultralytics model")
    names = network.names
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    state = network.float().state_dict()
    return dict(network.yaml), tuple(str(name) for name in names), state


def _refusal(path: Path, trust: bool, error: Exception) -> str:
    if trust:
        return f"{path}: cannot be loaded ({type(error).__name__}: {error})"
    if _is_pickle(path) and "references types outside" in str(error):
        return (
            f"{path}: loading this file would run code that it carries, so it was refused and "
            "nothing was run; only if you made it yourself, set trust_pickle: true"
        )
    return f"{path}: not a whole Ultralytics .pt file (empty, cut short, or something else)"


def _is_pickle(path: Path) -> bool:
    """A torch archive or the bare pickle of older ones; other bytes can be called nothing."""
    with path.open("rb") as file:
        start = file.read(2)
    return start == b"PK" or start[:1] == b"\x80"


def fetch(path: Path) -> None:
    """Let Ultralytics download one of its models to ``path``. Raises CheckpointError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        attempt_download_asset(str(path))
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be downloaded ({error})") from error
    if not path.is_file():
        raise CheckpointError(f"{path.name}: Ultralytics offers no model of this name")
