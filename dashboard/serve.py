"""Serve the app on this machine."""

import select
import socket
from typing import Any

from waitress.server import create_server

from backend.core.errors import AssayError
from backend.core.store import RunStore
from dashboard.app import create_app

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost")
PORT = 8050
THREADS = 8  # a page asks for several of its parts at once


class PortError(AssayError):
    """The address cannot be listened on."""


def serve(store: RunStore, host: str = HOST, port: int = PORT) -> None:
    """Serve until interrupted. Raises PortError before anything starts if the port is taken.

    Only this machine can reach the default host; there is no login, so another host is for
    networks in which everyone may see the runs.
    """
    server = make_server(store, host, port)
    try:
        server.run()
    finally:
        server.close()


def make_server(store: RunStore, host: str = HOST, port: int = PORT) -> Any:
    """A server that listens but does not answer before its ``run``; port 0 picks a free one.

    On IPv4 loopback it answers to loopback's names only, so that no web page can read the runs by
    giving its own name this machine's address (DNS rebinding).
    """
    check_port(host, port)
    flask = create_app(store).server
    if host in LOOPBACK:
        flask.config["TRUSTED_HOSTS"] = list(LOOPBACK)
    # Without poll it cannot take a connection once 1024 files are open.
    poll = hasattr(select, "poll")
    return create_server(flask, host=host, port=port, threads=THREADS, asyncore_use_poll=poll)


def check_port(host: str, port: int) -> None:
    """Raises PortError if ``host:port`` cannot be listened on."""
    if not 0 <= port <= 65535:
        raise PortError(f"port {port} does not exist; choose one from 1024 to 65535 with --port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortError(
                f"cannot listen on {host} port {port} ({error.strerror or error}); "
                f"stop what is using it or choose another port: assay dashboard --port {port + 1}"
            ) from None
