"""Everything that Assay takes from mmengine: no other module names it.

While it is imported a formatter that it brings along (yapf) would write into the user's cache
folder; it gets a folder that is gone afterwards.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import backend.nn.hermetic  # noqa: F401 (mmengine imports transformers)

CACHE = "XDG_CACHE_HOME"


@contextmanager
def _quiet() -> Iterator[None]:
    before = os.environ.get(CACHE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it calls torch.jit.script
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            del os.environ[CACHE]
            if before is not None:
                os.environ[CACHE] = before


with _quiet():
    from mmengine.hooks import Hook
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, OptimWrapper
    from mmengine.runner import BaseLoop, Runner

__all__ = [
    "BaseLoop",
    "CosineAnnealingLR",
    "Hook",
    "LinearLR",
    "MMLogger",
    "MessageHub",
    "MultiStepLR",
    "OptimWrapper",
    "Runner",
]
