"""The server says what is wrong with an address before it starts."""

import socket
import threading
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from backend.core.errors import AssayError
from dashboard.serve import HOST, PortError, check_port, make_server, serve
from tests.support.memory_store import filled_store


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_port_is_named_with_the_way_out(taken: int) -> None:
    with pytest.raises(PortError, match=rf"port {taken} .*--port {taken + 1}") as caught:
        serve(filled_store(), port=taken)
    assert isinstance(caught.value, AssayError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_ports_that_do_not_exist(port: int) -> None:
    with pytest.raises(PortError, match="does not exist"):
        check_port(HOST, port)


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(PortError, match=r"cannot listen on 203\.0\.113\.7"):
        check_port("203.0.113.7", 8050)


def test_it_serves_on_loopback() -> None:
    server = make_server(filled_store(), port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with urlopen(f"http://{HOST}:{server.effective_port}/", timeout=20) as answer:
            assert "Assay" in answer.read().decode()
    finally:
        server.close()
        thread.join(timeout=20)
    assert HOST == "127.0.0.1"
