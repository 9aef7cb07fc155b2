"""Pickles that hold arrays and nothing that runs.

A pickle may name any function and call it. Even numpy's own are not safe in its hands: they make
an array of objects out of bytes, which are then taken for addresses. So a pickle gets none of
them: what stands for them here keeps numbers only, and any other name is refused.
"""

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError

_NUMBERS = re.compile(r"[biufcSU]\d{1,9}")
"""Types whose values are bytes and no addresses."""


class _Sealed:
    """Its instances take no attributes from a pickle; a pickle would give them to a function."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it has no state")


class _Type(_Sealed):
    """``numpy.dtype``; ``known`` is None for a type of anything but numbers and texts."""

    __slots__ = ("known",)

    def __init__(self, code: str, *_: Any) -> None:
        self.known = np.dtype(code) if _NUMBERS.fullmatch(code) else None

    def __setstate__(self, state: Any) -> None:
        if self.known is not None and state[1] in ("<", ">"):
            self.known = self.known.newbyteorder(state[1])


class _Array(_Sealed):
    """``numpy.ndarray`` and its ``_reconstruct``: an array as ``numpy.asarray`` sees it."""

    __slots__ = ("values",)

    def __init__(self, *_: Any) -> None:
        self.values: NDArray[Any] = np.array(None)

    def __setstate__(self, state: Any) -> None:
        *_, shape, kind, by_columns, data = state
        if kind.known is not None:
            self.fill(data, kind, shape, "F" if by_columns else "C")

    def fill(self, data: Any, kind: _Type, shape: Any, order: Any) -> None:
        """Values from the bytes of an array; python 2 has them as a text."""
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.values = np.frombuffer(raw, kind.known).reshape(shape, order=order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)


class _Buffer(_Sealed):
    """``numpy.core.numeric._frombuffer``, by which protocol 5 has arrays."""

    __slots__ = ()

    def __new__(cls, data: Any, kind: _Type, shape: Any, order: Any, axes: Any = None) -> Any:
        made = _Array()
        made.fill(data, kind, shape, "C" if order == "K" else order)
        if axes is not None:
            made.values = made.values.transpose(axes)
        return made


class _Scalar(_Sealed):
    """``numpy.core.multiarray.scalar``."""

    __slots__ = ()

    def __new__(cls, kind: _Type, data: Any) -> Any:
        made = _Array()
        made.fill(data, kind, (), "C")
        return made.values[()]


class _Bytes(_Sealed):
    """``codecs.encode`` and ``bytearray``, by which old protocols have bytes."""

    __slots__ = ()

    def __new__(cls, data: Any, *_: Any) -> Any:
        return data.encode("latin1") if isinstance(data, str) else b"".join([data])


_NUMPY = {
    "multiarray._reconstruct": _Array,
    "multiarray.scalar": _Scalar,
    "numeric._frombuffer": _Buffer,
}
_KNOWN: dict[str, type] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "_codecs.encode": _Bytes,
    **{f"{home}.{name}": made for home in ("numpy.core", "numpy._core")
       for name, made in _NUMPY.items()},
    **{f"{home}.{made.__name__}": made for home in ("builtins", "__builtin__")
       for made in (set, frozenset, complex)},
    "builtins.bytearray": _Bytes,
    "__builtin__.bytearray": _Bytes,
}  # fmt: skip


class _RefusedError(Exception):
    """The pickle names something else; its text is the name."""


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """What stands for one of the known names, or nothing at all."""
        if f"{module}.{name}" not in _KNOWN:
            raise _RefusedError(f"{module}.{name}")
        return _KNOWN[f"{module}.{name}"]


def _require_room(data: bytes) -> None:
    """Raises ValueError for a pickle that is cut short, or that asks for more places to remember
    things in than it has bytes: the C code would take memory for all of them."""
    for code, argument, _ in pickletools.genops(data):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise ValueError(f"memory for {argument} places")


def read_arrays(path: Path) -> object:
    """What a pickle of arrays and plain containers holds; nothing else is run.

    Arrays are what ``numpy.asarray`` makes of them; one of objects is a single None. Raises
    DataError for a file that is damaged, or that names any other function.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    try:
        _require_room(data)
        return _Arrays(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as refused:
        raise DataError(
            f"{path}: loading this file would run code that it carries ({refused}), so it was "
            "refused and nothing was run; a skeleton file holds arrays, numbers and texts only"
        ) from None
    except Exception as error:  # noqa: BLE001 (a damaged pickle raises whatever it likes)
        raise DataError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from None
