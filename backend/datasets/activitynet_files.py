"""Which JSON files have ActivityNet's layout, told without PyAV, which videos need."""

from pathlib import Path

_HEAD = 1 << 20


def annotation_files(data: Path) -> list[Path]:
    """Those that ``data`` is, or has in it: with a ``database`` in their first million bytes."""
    files = [data] if data.is_file() else sorted(data.glob("*.json"))
    return [path for path in files if path.suffix == ".json" and _says_database(path)]


def _says_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"database"' in file.read(_HEAD)
    except OSError:
        return False
