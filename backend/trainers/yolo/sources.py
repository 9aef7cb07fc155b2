"""Which file a config's ``model`` means. No torch, so that a wrong name costs no import."""

from pathlib import Path
from typing import Protocol

from backend.core.errors import CheckpointError

SUFFIXES = (".safetensors", ".pt", ".yaml", ".yml")


class Naming(Protocol):
    """What a YoloConfig says of its model."""

    @property
    def model(self) -> str: ...
    @property
    def weights_dir(self) -> Path | None: ...
    @property
    def allow_download(self) -> bool: ...


def find_model(config: Naming) -> Path:
    """The file of ``config.model``; it may be one that Ultralytics ships or offers for download.

    A name with a folder is a path. A bare name is looked for here and then in ``weights_dir``.
    Raises CheckpointError with the path at which a missing file was expected.
    """
    path = Path(config.model).expanduser()
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"model: '{config.model}' is no {', '.join(SUFFIXES[:-1])} file")
    if path.is_file():
        return path.absolute()
    if path.parent != Path():
        raise CheckpointError(f"{path.absolute()}: no such model file")
    if path.suffix in {".yaml", ".yml"}:
        return path  # perhaps one that Ultralytics ships
    return _in_weights_dir(config, path)


def _in_weights_dir(config: Naming, name: Path) -> Path:
    if config.weights_dir is None:
        raise CheckpointError(
            f"model: '{name}' is not in this folder and weights_dir is not set; nothing is "
            "downloaded unless allow_download is true and weights_dir says where to"
        )
    expected = config.weights_dir / name
    if not expected.is_file() and not config.allow_download:
        raise CheckpointError(
            f"model: expected {expected}; put the file there, or set allow_download to true to "
            "let Ultralytics fetch it"
        )
    return expected
