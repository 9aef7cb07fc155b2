"""The formats that checkpoints are exported to."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from backend.core.errors import ConfigError
from backend.core.trainer import ExportRequest

SUFFIXES = {"onnx": ".onnx", "ultralytics": ".pt", "motrv2": ".pth"}
"""How a format's files are called."""


def report_of(out: Path) -> Path:
    """Where the report of an exported file lies: beside it."""
    return out.with_name(f"{out.name}.json")


def require_packages(exports: Mapping[str, tuple[str, ...]], formats: Iterable[str]) -> None:
    """See that what ``TrainerSpec.exports`` asks for is installed, without importing it.

    The extra of a format has its name. Raises ConfigError that names what is missing.
    """
    for name in formats:
        missing = [package for package in exports[name] if not _installed(package)]
        if missing:
            raise ConfigError(
                f"the export to {name} needs {', '.join(missing)}, not installed here; install "
                f"the extra: pip install 'assay[{name}]'"
            )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # hidden, or half imported
        return False


def check_request(
    request: ExportRequest, kind: str, known: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> None:
    """See that the trainer ``kind`` has the format, its packages are installed, and the file is
    called as its readers want it and takes no other's place than an earlier export's. ``known``
    has the exports of every trainer. Raises ConfigError.
    """
    exports, name, out = known[kind], request.format, Path(request.out)
    if not exports:
        others = "; ".join(f"{other}: {', '.join(has)}" for other, has in known.items() if has)
        raise ConfigError(f"{kind} exports to no other format; there is {others}")
    if name not in exports:
        raise ConfigError(f"unknown format '{name}'; {kind} exports to {', '.join(exports)}")
    require_packages(exports, (name,))
    if out.suffix != SUFFIXES[name] or out.is_dir():
        raise ConfigError(f"{out}: a file of the format {name} is called *{SUFFIXES[name]}")
    if request.dynamic and name != "onnx":
        raise ConfigError(
            f"dynamic is for onnx; a file of the format {name} takes any size as it is"
        )
    if out.exists() and not report_of(out).exists():
        raise ConfigError(
            f"{out}: there is a file already that is no export of Assay; delete it "
            "or name another with --out"
        )
