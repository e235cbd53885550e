"""TLS and passwords: right and wrong ones, renewed ones, and files that cannot be."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import urllib.error
from typing import TYPE_CHECKING

import bcrypt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from yoloscope_exporter import web_config
from yoloscope_exporter.web_config import Guard, WebConfigError

from tests.exporter.serving import fetch, raw, serving

if TYPE_CHECKING:
    from pathlib import Path


TLS = "tls_server_config: {cert_file: a, key_file: b"


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


def test_tls_does_not_end_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does the demand for a client's certificate; what is refused is said, and what was goes on."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert("client.example.org").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write_certificate(authority, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "sealed.pem").write_bytes(sealed((tmp_path / "key.pem").read_bytes()))
    strict = "client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert"
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: cert.pem, key_file: key.pem, {strict}}}\n")
    good = file.read_text()
    weaker = (
        ("http_server_config: {headers: {X-Owner: ada}}\n", "tls_server_config cannot be switched off"),
        (good.replace("RequireAnd", "").replace("ClientCert", "ClientCertIfGiven"), "client_auth_type cannot be"),
        (good.replace("cert.pem", "fifo"), "no regular file"),
        (good.replace("key.pem", "sealed.pem"), "cannot load"),
        (good.replace("ca.pem", "key.pem"), "cannot load"),
    )
    with serving(Guard(file)) as url:
        for content, said in weaker:
            file.write_text(content)
            assert fetch(f"{url}/metrics", context)[0] == 200
            assert f"stays as it was: {file}" in caplog.text
            assert said in caplog.text.splitlines()[-1]
        with pytest.raises((urllib.error.URLError, OSError)):
            fetch(f"{url}/metrics", ssl._create_unverified_context())


def sealed(key: bytes) -> bytes:
    """The key, encrypted with a password."""
    private = serialization.load_pem_private_key(key, None)
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return private.private_bytes(form, kind, serialization.BestAvailableEncryption(b"secret"))


def test_a_certificate_that_comes_later_is_taken(tmp_path: Path) -> None:
    """The file names one that is not there yet; it needs no second touch when that has come."""
    first, second = trustme.CA(), trustme.CA()
    write_certificate(first, tmp_path)
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    guard = Guard(file)
    before = guard.context()
    file.write_text("tls_server_config: {cert_file: new/cert.pem, key_file: new/key.pem}\n")
    assert guard.context() is before
    (tmp_path / "new").mkdir()
    write_certificate(second, tmp_path / "new")
    assert guard.context() is not before


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
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: [TLS12]}",
            "'min_version' in tls_server_config must have",
        ),
        ("tls_server_config: {cert_file: a, key_file: b}", "cannot load"),
        ("http_server_config: {headers: [a]}", "headers must be a mapping"),
        ("http_server_config: {headers: {X-Owner: 中}}", "the header 'X-Owner' must be printable Latin-1"),
        ("basic_auth_users: {ada: secret}", "the password of 'ada' must be a bcrypt hash"),
        ("[", "not readable as YAML"),
        ("", "says nothing"),
        ("# ada may ask\n", "says nothing"),
        ("basic_auth_users:\n", "basic_auth_users is empty"),
        ("basic_auth_users: {}", "basic_auth_users is empty"),
        ("basic_auth_users: {ada: }", "'ada' in basic_auth_users must have one value"),
        ("basic_auth_users: {ada: $2y$10$abc}", "the password of 'ada' must be a bcrypt hash"),
        ("tls_server_config: {cert_file: [a], key_file: b}", "'cert_file' in tls_server_config must have one value"),
        ('tls_server_config: {cert_file: "a\\0", key_file: b}', "'cert_file' in tls_server_config must have one value"),
        (
            f"{TLS}, client_ca_file: c}}",
            "client_ca_file without a client_auth_type that asks for one: RequestClientCert",
        ),
        (f"{TLS}, client_ca_file: c, client_auth_type: NoClientCert}}", "client_ca_file without a client_auth_type"),
        (f"{TLS}, client_auth_type: RequireAndVerifyClientCert}}", "RequireAndVerifyClientCert needs client_ca_file"),
    ],
)
def test_bad_web_configuration_is_named(tmp_path: Path, content: str, expected: str) -> None:
    """What is wrong, and what is allowed."""
    file = tmp_path / "web.yml"
    file.write_text(content)
    with pytest.raises(WebConfigError, match=expected.replace("[", r"\[")):
        Guard(file)
