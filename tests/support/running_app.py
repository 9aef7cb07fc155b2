"""The app, served by a thread of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dashboard.serve import HOST, make_server
from tests.support.memory_store import MemoryStore


@contextmanager
def running_app(store: MemoryStore) -> Iterator[str]:
    """The address of an app that shows ``store``.

    At the end the server's threads finish first and its loop closes itself: a descriptor that is
    closed under another thread's hands ends that thread with an error.
    """
    server = make_server(store, port=0)
    loop = threading.Thread(target=server.run, daemon=True)
    loop.start()
    yield f"http://{HOST}:{server.effective_port}/"
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(partial(_close_all, server._map))
    loop.join(timeout=20)
    assert not loop.is_alive()


def _close_all(listening: dict[int, Any]) -> None:
    for each in list(listening.values()):
        each.handle_close()
