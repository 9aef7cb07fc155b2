"""transformers without the network and without telemetry.

Import this before it: the Hugging Face client reads these switches while it is imported. One that
was imported earlier is put offline, where it has no telemetry either.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
}
CLIENT = "huggingface_hub.constants"


@contextmanager
def online() -> Iterator[None]:
    """Let the Hugging Face client use the network: for a download that the user asked for."""
    _set_offline(False)
    try:
        yield
    finally:
        _set_offline(True)


def _set_offline(offline: bool) -> None:
    client = sys.modules.get(CLIENT)  # if not yet imported, the environment will tell it
    if client is not None:
        client.HF_HUB_OFFLINE = offline  # type: ignore[attr-defined]


os.environ.update(ENVIRONMENT)
_set_offline(True)
