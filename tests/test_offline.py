"""The guard of conftest.py: a test that reaches for the network fails, whatever it does it with."""

import socket

import httpx
import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org", "2001:db8::1"])
def test_it_refuses_other_machines(host):
    with pytest.raises(RuntimeError, match="tests stay on this machine"):
        socket.create_connection((host, 80), timeout=1)


def test_it_refuses_what_a_library_asks():
    with pytest.raises(RuntimeError, match=r"reach example\.org"):
        httpx.get("https://example.org")


def test_it_allows_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=1).close()
