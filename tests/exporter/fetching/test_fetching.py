"""No proxy is asked for this machine; others go as the environment says."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import fetching as module
from yoloscope_exporter.fetching import SourceError, fetch, masked, opener, parsed, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://127.0.0.1:9911/metrics", False),
        ("http://[::1]:9911", False),
        ("http://localhost:9911", False),
        ("http://node-7:9911", True),
        ("http://10.0.0.7:9911", True),
    ],
)
def test_proxies(monkeypatch: pytest.MonkeyPatch, url: str, proxied: bool) -> None:  # noqa: FBT001 - a parameter
    """By the address, whatever the environment names."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    handlers = [one for one in opener(url).handlers if isinstance(one, urllib.request.ProxyHandler)]  # type: ignore[attr-defined]
    assert any(hasattr(one, "http_open") for one in handlers) is proxied


def test_proxy_is_not_asked_for_this_machine(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's http_proxy does not come between the terminal and the exporter beside it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(serve(lambda *_: (200, b"here"))) == b"here"


# --- what must not happen --------------------------------------------------------------------------------------------


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    """A server that sends everybody to `target`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://li:secret@127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_passwords_stay_with_their_origin(serve: Callable[[Answer], str]) -> None:
    """Another port is another server, whoever sends us there; the same one gets the password again."""
    seen: list[dict[str, str]] = []

    def answer(path: str, _: str, headers: dict[str, str]) -> tuple[int, bytes]:
        seen.append(headers)
        return 200, path.encode()

    url = serve(answer)
    fetch(url.replace("//", "//li:secret@"))
    assert seen.pop()["Authorization"].startswith("Basic ")
    with redirecting(f"{url}/there") as first:
        assert fetch(first) == b"/there"
    assert "Authorization" not in seen.pop()


@pytest.mark.parametrize("target", ["ftp://127.0.0.1:1/a", "file:///etc/passwd"])
def test_no_other_scheme_is_followed(target: str) -> None:
    """An exporter must not make us read files, or ask other services."""
    with redirecting(target) as url, pytest.raises(SourceError, match=r"redirects to|302") as raised:
        fetch(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["ftp://li:secret@host/", "http://li:secret@/", "http://li:secret@127.0.0.1:1/"])
def test_errors_name_no_password(url: str) -> None:
    """They end up in logs and chats."""
    with pytest.raises(SourceError) as raised:
        fetch(url)
    assert "secret" not in str(raised.value)
    assert masked("https://li:secret@host:1/a@b?c") == "https://host:1/a@b?c"
    assert masked("li:secret@host") == "host"


def test_too_much_is_refused(serve: Callable[[Answer], str]) -> None:
    """The answer says what to ask for instead."""
    assert len(fetch(serve(lambda *_: (200, b"x" * 1_000_000)), most=1_000_000)) == 1_000_000
    with pytest.raises(SourceError, match="more than 1 MB: ask for less time or one run"):
        fetch(serve(lambda *_: (200, b"x" * 1_000_001)), most=1_000_000)


def test_who_dribbles_holds_nobody_up(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the whole answer counts."""
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.0)
    with pytest.raises(SourceError, match="takes more than 0 s"):
        fetch(serve(lambda *_: (200, b"x" * 100)))


@pytest.mark.parametrize("target", ["http://[", "http://127.0.0.1:99999999/", "//[::1", "http://a..b/"])
def test_redirects_to_what_is_no_address(target: str) -> None:
    """One line, wherever a server sends one."""
    with redirecting(target) as url, pytest.raises(SourceError) as raised:
        fetch(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_who_dribbles_letter_by_letter(monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
    """Within the head, the body, or before either: no read lasts long, and all of it would last for ever."""
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.4)
    over = threading.Event()

    def dribble(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted, suppress(OSError):
            accepted.sendall(begin)
            while not over.wait(0.05):
                accepted.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=dribble, args=(listening,), daemon=True)
        thread.start()
        with pytest.raises(SourceError, match=r"takes more than 0\.4 s to answer"):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        over.set()
        thread.join()


def test_nesting_is_no_json() -> None:
    """It would end the program with a RecursionError."""
    for body in (b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b""):
        with pytest.raises(ValueError, match=r"."):
            parsed(body)
    assert parsed(b'{"a": [1]}') == {"a": [1]}


def test_what_is_nested_in_a_refusal(serve: Callable[[Answer], str]) -> None:
    """Its reason is not told then, and no long one whole."""
    with pytest.raises(SourceError, match="answers 500"):
        fetch(serve(lambda *_: (500, b"[" * 200_000)))
    with pytest.raises(SourceError) as raised:
        fetch(serve(lambda *_: (500, json.dumps({"error": "x" * 100_000}).encode())))
    assert len(str(raised.value)) < 400


def test_what_cannot_be_written(serve: Callable[[Answer], str]) -> None:
    """Half a character would end the program where it is printed; other line ends would begin a line."""
    assert printable("\ud800 \udfff \u2028 \u2029 \x85") == "? ? ? ? ?"
    with pytest.raises(SourceError) as raised:
        fetch(serve(lambda *_: (400, b'{"error": "\\ud800no"}')))
    assert str(raised.value).encode().endswith(b"?no")


def test_terminals_are_not_steered(serve: Callable[[Answer], str]) -> None:
    """An answer's text is shown, not obeyed."""
    with pytest.raises(SourceError) as raised:
        fetch(serve(lambda *_: (400, b'{"error": "\\u001b[2J\\u202eno"}')))
    assert str(raised.value).endswith("?[2J?no")
    assert printable("训练/实验\u3000é\n") == "训练/实验\u3000é\n"
