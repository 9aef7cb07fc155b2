"""Pickles that hold arrays and nothing that runs.

A pickle may name any function and call it. Here the few that rebuild numpy's arrays are known,
under the names of numpy 1 and 2, and any other is refused before it is looked up.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import DataError

_ARRAY = np.zeros(1)
_NUMPY: dict[str, Any] = {
    "multiarray._reconstruct": _ARRAY.__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": _ARRAY.__reduce_ex__(5)[0],
}
_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": lambda text, _: text.encode("latin1"),  # bytes, in old protocols
    **{f"numpy.core.{name}": made for name, made in _NUMPY.items()},
    **{f"numpy._core.{name}": made for name, made in _NUMPY.items()},
    **{
        f"{module}.{made.__name__}": made
        for module in ("builtins", "__builtin__")
        for made in (set, frozenset, bytearray, complex)
    },
}


class _RefusedError(Exception):
    """The pickle names something else; its text is the name."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """One of the known functions, or nothing at all."""
        if f"{module}.{name}" not in _KNOWN:
            raise _RefusedError(f"{module}.{name}")
        return _KNOWN[f"{module}.{name}"]


def read_arrays(path: Path) -> object:
    """What a pickle of arrays and plain containers holds; nothing else is run.

    Raises DataError for a file that is damaged, or that names any other function.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    try:
        return _Arrays(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as refused:
        raise DataError(
            f"{path}: loading this file would run code that it carries ({refused}), so it was "
            "refused and nothing was run; a skeleton file holds arrays, numbers and texts only"
        ) from None
    except Exception as error:  # noqa: BLE001 (a damaged pickle raises whatever it likes)
        raise DataError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from None
