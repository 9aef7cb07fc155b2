"""The server says what is wrong with an address before it starts."""

import os
import socket
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from backend.core.errors import AssayError
from dashboard.serve import HOST, PortError, check_port, serve
from tests.support.memory_store import filled_store
from tests.support.running_app import running_app


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


@pytest.fixture
def address() -> Iterator[str]:
    """Where a running server is."""
    with running_app(filled_store()) as where:
        yield where


def test_it_serves_on_loopback(address: str) -> None:
    with urlopen(address, timeout=20) as answer:
        assert "Assay" in answer.read().decode()
    assert HOST == "127.0.0.1"


def test_it_serves_beside_a_thousand_open_files() -> None:
    resource = pytest.importorskip("resource", reason="the system has no poll either")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2048:
        pytest.skip("this process may not open as many files")
    read, write = os.pipe()
    held = [os.dup(read) for _ in range(1100)]
    try:
        with running_app(filled_store()) as where, urlopen(where, timeout=20) as answer:
            assert answer.status == 200
    finally:
        for file in (*held, read, write):
            os.close(file)


def test_a_name_that_is_not_loopbacks_gets_no_answer(address: str) -> None:
    """A web page may give its own name our address, and then read what it likes."""
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(address, headers={"Host": "rebound.example"}), timeout=20)
    with caught.value as answer:
        assert answer.code == 400
        assert b"Assay" not in answer.read()
    for name in ("localhost:8050", "127.0.0.1"):
        with urlopen(Request(address, headers={"Host": name}), timeout=20) as answer:
            assert answer.status == 200
