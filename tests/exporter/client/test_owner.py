"""Who listens at an address."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys

import pytest
from yoloscope_exporter.client.owner import owner


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_says_who_listens(family: socket.AddressFamily, host: str) -> None:
    """For IPv4 and IPv6."""
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        assert owner(f"http://{shown}:{port}/metrics") == getpass.getuser()
    assert owner(f"http://{shown}:{port}") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for another user")
def test_another_user_is_named() -> None:
    """Whoever took the port first."""
    program = "import os, socket; os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
    program += "print(s.getsockname()[1], flush=True); s.accept()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert owner(f"http://localhost:{int(process.stdout.readline())}") == "nobody"
        process.kill()


def test_other_machines_are_not_known() -> None:
    """Their kernels are not asked."""
    assert owner("http://node-7:9911") == ""
    assert owner("nonsense:xyz") == ""
