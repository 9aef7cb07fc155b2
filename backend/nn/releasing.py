"""Memory given back after a failure."""

import gc

import torch


def release() -> None:
    """Give back what a failed attempt held, once no frame holds it any more."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
