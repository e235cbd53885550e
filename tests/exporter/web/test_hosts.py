"""On the loopback nobody's web page reads what is here."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import config
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.service.exporter import running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of an exporter behind a proxy that asks for gpu.example.org."""
    arguments = ["--web.listen-address=127.0.0.1:0", "--web.allowed-hosts=GPU.example.org, other"]
    with running(config.resolve(serve, arguments)) as exporter:
        address = exporter.server.address
        assert isinstance(address, config.Address)
        yield address.port


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9911", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("exporter.localhost:9911", 200),
        ("[::1]:9911", 200),
        ("10.1.2.3:9911", 200),  # a sidecar hands the pod's address on
        ("gpu.example.org:443", 200),
        ("other", 200),
        ("evil.example", 421),
        ("evil.example:9911", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_names(port: int, host: str, status: int) -> None:
    """Whose name is not known came by a rebound name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/-/healthy", headers={"Host": host})
    answer = connection.getresponse()
    assert answer.status == status
    assert (b"--web.allowed-hosts" in answer.read()) == (status == 421)
    connection.close()


def test_other_addresses_are_asked_by_any_name() -> None:
    """Who listens to the network is behind names that nobody here knows."""
    with running(config.resolve(serve, ["--web.listen-address=:0"])) as exporter:
        address = exporter.server.address
        assert isinstance(address, config.Address)
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
        connection.request("GET", "/-/healthy", headers={"Host": "node.example"})
        assert connection.getresponse().status == 200
        connection.close()
