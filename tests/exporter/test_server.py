"""The server: routes, negotiation, silent clients, limits, TLS and passwords."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING

import bcrypt
import pytest
import trustme
from yoloscope_exporter import catalog, server, web_config
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.config import Address
from yoloscope_exporter.sampler import Sampler, Source
from yoloscope_exporter.server import App, Request, Response, Server, negotiate
from yoloscope_exporter.web_config import Guard, WebConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = '<script>"run"</script>'


def samples() -> list[Sample]:
    """A training with a name that wants escaping."""
    return [
        Sample(catalog.TRAIN_STATE, (RUN, "0", "train"), 1.0),
        Sample(catalog.TRAIN_EPOCH, (RUN, "0"), 3.0),
        Sample(catalog.CPU_CORES, (), 4.0),
    ]


@contextmanager
def serving(guard: Guard | None = None, *, cycle: bool = True) -> Iterator[str]:
    """A server on a free port, and its URL."""
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=60.0)
    if cycle:
        sampler.cycle()
    made = Server(Address("127.0.0.1", 0), App(sampler), guard)
    with ExitStack() as stack:
        stack.callback(sampler.stop)
        stack.callback(made.server_close)
        made.start()
        stack.callback(made.shutdown)
        yield made.url


def fetch(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=named), timeout=10, context=context) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_routes() -> None:
    """Metrics, health, readiness, page; 404 names where the metrics are."""
    with serving() as url:
        assert b"yoloscope_cpu_cores 4.0" in fetch(f"{url}/metrics")[1]
        assert fetch(f"{url}/-/ready")[0] == 200
        status, body, _ = fetch(f"{url}/nowhere")
        assert (status, body) == (404, b"nothing here; the metrics are at /metrics\n")


def test_not_ready_before_the_first_snapshot() -> None:
    """503 until there is something to serve; /metrics already has the exporter's own series."""
    with serving(cycle=False) as url:
        assert fetch(f"{url}/-/ready")[0] == 503
        assert fetch(f"{url}/-/healthy")[0] == 503  # nobody has started the sampler
        status, body, _ = fetch(f"{url}/metrics")
        assert status == 200
        assert b'yoloscope_collector_up{collector="runs"} 0.0' in body


def test_filters() -> None:
    """collect[] and exclude[] as in node_exporter; what does not exist, or both, is 400."""
    with serving() as url:
        assert b"cpu_cores" in fetch(f"{url}/metrics?collect[]=runs")[1]
        assert b"cpu_cores" not in fetch(f"{url}/metrics?exclude[]=runs")[1]
        status, body, _ = fetch(f"{url}/metrics?collect[]=gpus")
        assert (status, body) == (400, b"no collector 'gpus'; there are runs\n")
        assert fetch(f"{url}/metrics?collect[]=runs&exclude[]=runs")[0] == 400


def test_gzip_when_asked_for() -> None:
    """The body is compressed, and says so."""
    with serving() as url:
        _, body, headers = fetch(f"{url}/metrics", Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert b"yoloscope_cpu_cores" in gzip.decompress(body)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain;q=nonsense", False),
    ],
)
def test_negotiation(accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - a parameter
    """OpenMetrics for who wants it at least as much as plain text."""
    assert negotiate({"accept": accept}).openmetrics is openmetrics


def raw(url: str, request: bytes) -> bytes:
    """Send bytes, read to the end."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_only_reading() -> None:
    """HEAD has headers only; anything but GET and HEAD is 405."""
    with serving() as url:
        head = raw(url, b"HEAD /metrics HTTP/1.0\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK")
        assert head.endswith(b"\r\n\r\n")
        for method in (b"POST", b"PROPFIND", b"get"):
            assert raw(url, method + b" /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.0 405")
        twice = raw(
            url, b"GET /metrics HTTP/1.0\r\nAccept: text/plain;q=0.1\r\nAccept: application/openmetrics-text\r\n\r\n"
        )
        assert b"Content-Type: application/openmetrics-text" in twice


def test_a_failure_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in the app, the client gets a status, and the log the reason."""

    def broken(_request: Request) -> Response:
        raise LookupError("no such run")

    made = Server(Address("127.0.0.1", 0), broken)
    made.start()
    assert fetch(made.url)[0] == 500
    assert "LookupError: no such run" in caplog.text
    made.shutdown()
    made.server_close()


def test_silent_clients_hold_nobody_up() -> None:
    """With many connections that say nothing, a scrape is answered; above the limit 503 at once."""
    with serving() as url, ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(server.MAX_CONNECTIONS - 1):
            stack.enter_context(socket.create_connection(address))
        assert fetch(f"{url}/metrics")[0] == 200
        stack.enter_context(socket.create_connection(address))
        deadline = time.monotonic() + 4
        answer = b""
        while not answer.startswith(b"HTTP/1.0 503") and time.monotonic() < deadline:
            answer = raw(url, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 503")


def test_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-sent request is given up after the timeout."""
    monkeypatch.setattr(server, "SOCKET_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(server._Handler, "timeout", 0.2)
    with serving() as url:
        assert raw(url, b"GET /metr") == b""


def test_page_in_both_languages_escapes_names() -> None:
    """The page shows the runs, in English or Chinese, and nobody's markup."""
    with serving() as url:
        english = fetch(f"{url}/")[1].decode()
        chinese = fetch(f"{url}/", Accept_Language="zh-CN,en;q=0.5")[1].decode()
    assert "Trainings" in english
    assert "训练任务" in chinese
    assert "训练中" in chinese
    for page in (english, chinese):
        assert "&lt;script&gt;" in page
        assert "<script" not in page


# --- TLS and passwords ----------------------------------------------------------------------------------------------


def test_page_shows_nothing_old() -> None:
    """Before the first sample, and when sampling has stopped, no training is shown as if it were running."""
    now = [1000.0]
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=1.0, clock=lambda: now[0])
    assert "Nothing has been sampled" in get(App(sampler), "/")
    sampler.cycle()
    assert "train</td>" in get(App(sampler), "/")
    now[0] += 60
    assert "Nothing has been sampled" in get(App(sampler), "/")
    assert "train</td>" not in get(App(sampler), "/")
    sampler.stop()


def test_documents_end_with_the_sampler() -> None:
    """Findings are given while sampling goes on; when it has stopped they would be old, and that is said."""
    sampler = SimpleNamespace(alive=True)
    app = App(sampler, documents={"/api/findings": lambda: ["starved"]})  # type: ignore[arg-type]
    assert get(app, "/api/findings") == '["starved"]'
    sampler.alive = False
    assert get(app, "/api/findings") == '{"error": "the sampler has stopped"}'


def get(app: App, path: str) -> str:
    """The body of an answer, without a server."""
    return app(Request("GET", path, "", {})).body.decode()


def basic(user: str, password: str) -> str:
    """Value of the header Authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file with one user, as htpasswd -B writes it."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users:\n  ada: {hashed}\nhttp_server_config:\n  headers: {{X-Frame-Options: deny}}\n")
    return file


def test_passwords(users: Path) -> None:
    """Right ones open, wrong and missing ones do not; headers of the file are sent either way."""
    with serving(Guard(users)) as url:
        status, _, headers = fetch(f"{url}/metrics")
        assert (status, headers["WWW-Authenticate"], headers["X-Frame-Options"]) == (401, "Basic", "deny")
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret") + "  ")[0] == 200
        assert raw(url, b"PROPFIND /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 401")
        for header in (
            basic("ada", "wrong"),
            basic("bob", "secret"),
            basic("", ""),
            "Basic x",
            "Basic é",
            "Bearer y",
            "é",
        ):
            assert fetch(f"{url}/metrics", Authorization=header)[0] == 401


def test_password_is_checked_once(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bcrypt is slow on purpose, so its answer is kept."""
    calls: list[int] = []
    original = web_config._matches
    monkeypatch.setattr(web_config, "_matches", lambda *args: calls.append(1) or original(*args))
    with serving(Guard(users)) as url:
        for _ in range(5):
            assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
    assert len(calls) == 1


def test_tls_and_its_renewal(tmp_path: Path) -> None:
    """HTTPS with the file's certificate; a silent client does not hold it up; a new certificate is taken at once."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS13}\n")
    write_certificate(authority, tmp_path)
    with serving(Guard(file)) as url:
        assert url.startswith("https://")
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            assert fetch(f"{url}/metrics", context)[0] == 200
        stranger = trustme.CA()
        write_certificate(stranger, tmp_path)
        with pytest.raises(urllib.error.URLError):
            fetch(f"{url}/metrics", context)
        stranger.configure_trust(context)
        assert fetch(f"{url}/metrics", context)[0] == 200


def write_certificate(authority: trustme.CA, directory: Path) -> None:
    """A certificate for the loopback address."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))


def test_changed_users_are_taken_and_bad_files_not(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that turns bad keeps the old users, which is said once; a good one replaces them."""
    with serving(Guard(users)) as url:
        good = users.read_text()
        users.write_text("basic_auth_users: 7\n")
        for _ in range(3):
            assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 200
        assert caplog.text.count("stays as it was") == 1
        users.write_text(good.replace("ada", "bob"))
        assert fetch(f"{url}/metrics", Authorization=basic("bob", "secret"))[0] == 200
        assert fetch(f"{url}/metrics", Authorization=basic("ada", "secret"))[0] == 401


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("tls: {}", "unknown key 'tls' in the file; allowed are tls_server_config"),
        ("tls_server_config: {cert_file: a}", "needs cert_file and key_file"),
        ("tls_server_config: {cert_file: a, key_file: b, ciphers: c}", "unknown key 'ciphers'"),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}",
            "min_version is 'SSL3'; allowed are TLS12",
        ),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: [TLS12]}", "allowed are TLS12"),
        ("tls_server_config: {cert_file: a, key_file: b}", "cannot load"),
        ("http_server_config: {headers: [a]}", "headers must be a mapping"),
        ("http_server_config: {headers: {X-Owner: 中}}", "the header 'X-Owner' must be printable Latin-1"),
        ("basic_auth_users: {ada: secret}", "the password of 'ada' must be a bcrypt hash"),
        ("[", "not readable as YAML"),
    ],
)
def test_bad_web_configuration_is_named(tmp_path: Path, content: str, expected: str) -> None:
    """What is wrong, and what is allowed."""
    file = tmp_path / "web.yml"
    file.write_text(content)
    with pytest.raises(WebConfigError, match=expected.replace("[", r"\[")):
        Guard(file)


def test_connections_under_way_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the shutdown, a request that was being answered still gets its answer."""
    begun, release = threading.Event(), threading.Event()

    def slow(_request: Request) -> Response:
        begun.set()
        release.wait(10)
        return Response(HTTPStatus.OK, b"done")

    made = Server(Address("127.0.0.1", 0), slow)
    made.start()
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(raw(made.url, b"GET / HTTP/1.0\r\n\r\n")))
    client.start()
    assert begun.wait(10)
    made.shutdown()
    threading.Timer(0.1, release.set).start()
    made.drain(10)
    made.server_close()
    client.join(10)
    assert answers[0].endswith(b"done")
