"""Fixtures for the tests of the exporter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest

Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


@pytest.fixture(autouse=True)
def _procfs() -> Iterator[None]:
    """Give psutil its own /proc back: collectors point it at a test's node, for the whole process."""
    path = psutil.PROCFS_PATH
    yield
    psutil.PROCFS_PATH = path


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start servers whose answers come from `answer(path, body, headers)`; gives their URLs."""
    servers: list[HTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, data = answer(self.path, body, dict(self.headers))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
