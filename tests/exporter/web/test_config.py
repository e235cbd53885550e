"""The web configuration: TLS in every form, what is renewed, what is refused, and files that cannot be."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.error
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from yoloscope_exporter.web.config import WebConfigError
from yoloscope_exporter.web.config_file import WebConfigFile

from tests.exporter.serving import ask, fetch, serving

if TYPE_CHECKING:
    from pathlib import Path


TLS = "tls_server_config: {cert_file: a, key_file: b"


def test_tls_and_its_renewal(tmp_path: Path) -> None:
    """HTTPS with the file's certificate; a silent client does not hold it up; a new certificate is taken at once."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS13}\n")
    write_certificate(authority, tmp_path)
    with serving(WebConfigFile(file)) as url:
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


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Who signed cert.pem; ca.pem is its certificate."""
    made = trustme.CA()
    write_certificate(made, tmp_path)
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def client(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A client that trusts the server, with a certificate for `names` if there are any."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if names:
        authority.issue_cert(*names).configure_cert(context)
    return context


def web(directory: Path, **tls: str) -> WebConfigFile:
    """A web configuration with TLS and what else is given."""
    file = directory / "web.yml"
    pairs = {"cert_file": "cert.pem", "key_file": "key.pem", **tls}
    file.write_text("tls_server_config:\n" + "".join(f"  {key}: {value}\n" for key, value in pairs.items()))
    return WebConfigFile(file)


def admits(url: str, context: ssl.SSLContext) -> bool:
    """Whether a client gets an answer."""
    try:
        return fetch(f"{url}/metrics", context)[0] == 200
    except OSError:
        return False


REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}


def test_client_certificates(tmp_path: Path, authority: trustme.CA) -> None:
    """Only who has one of the authority's gets in; where it may be left out, a wrong one is still refused."""
    stranger = client(authority)
    trustme.CA().issue_cert("me").configure_cert(stranger)
    with serving(web(tmp_path, **REQUIRED)) as url:
        assert admits(url, client(authority, "prometheus"))
        assert not admits(url, client(authority))
        assert not admits(url, stranger)
        assert admits(url, client(authority, "prometheus"))
    with serving(web(tmp_path, client_auth_type="VerifyClientCertIfGiven", client_ca_file="ca.pem")) as url:
        assert admits(url, client(authority))
        assert not admits(url, stranger)


def test_client_certificates_by_name(tmp_path: Path, authority: trustme.CA) -> None:
    """Of the authority's clients, those that the list names."""
    with serving(web(tmp_path, **REQUIRED, client_allowed_sans="[prometheus.example, '0:0:0:0:0:0:0:1']")) as url:
        assert admits(url, client(authority, "prometheus.example"))
        assert admits(url, client(authority, "::1"))
        assert not admits(url, client(authority, "other.example"))


def test_certificates_in_the_file_itself(tmp_path: Path, authority: trustme.CA) -> None:
    """As text, with the client's authority."""
    content = {
        "cert": (tmp_path / "cert.pem").read_text(),
        "key": (tmp_path / "key.pem").read_text(),
        "client_ca": (tmp_path / "ca.pem").read_text(),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    file = tmp_path / "web.yml"
    file.write_text(yaml.safe_dump({"tls_server_config": content}))
    with serving(WebConfigFile(file)) as url:
        assert admits(url, client(authority, "me"))
        assert not admits(url, client(authority))


def test_versions_suites_and_curves(tmp_path: Path, authority: trustme.CA) -> None:
    """What the file leaves is what is spoken."""
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    tls = {"max_version": "TLS12", "cipher_suites": f"[{suite}]", "curve_preferences": "[CurveP384]"}
    with serving(web(tmp_path, **tls, prefer_server_cipher_suites="false")) as url:
        assert _spoken(url, client(authority)) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
        other = client(authority)
        other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert not admits(url, other)
    with serving(web(tmp_path, cipher_suites="[TLS_AES_128_GCM_SHA256]")) as url:
        old = client(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert not admits(url, old)
        assert _spoken(url, client(authority))[0] == "TLSv1.3"


def _spoken(url: str, context: ssl.SSLContext) -> tuple[str | None, str]:
    with _connected(url, context) as connection:
        cipher = connection.cipher()
        assert cipher is not None
        return connection.version(), cipher[0]


def _connected(url: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    port = int(url.rpartition(":")[2])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="127.0.0.1")


def test_a_kept_connection_outlives_a_renewal(tmp_path: Path, authority: trustme.CA) -> None:
    """Who is connected stays connected, and who comes sees the new certificate."""
    with serving(web(tmp_path)) as url, _connected(url, client(authority)) as kept:
        assert ask(kept)[0] == 200
        before = kept.getpeercert()
        write_certificate(authority, tmp_path)
        assert ask(kept)[0] == 200
        with _connected(url, client(authority)) as fresh:
            assert ask(fresh)[0] == 200
            assert fresh.getpeercert() != before


def test_silent_tls_connections_hold_nobody_up(tmp_path: Path, authority: trustme.CA) -> None:
    """A hundred that do not even shake hands."""
    with serving(web(tmp_path)) as url, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))))
        assert all(admits(url, client(authority)) for _ in range(5))


def test_half_a_renewal_keeps_the_old_certificate(
    tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    """The certificate is replaced before its key: in between nothing fits."""
    with serving(web(tmp_path)) as url:
        stranger = trustme.CA()
        key = (tmp_path / "key.pem").read_bytes()
        write_certificate(stranger, tmp_path)
        new_key = (tmp_path / "key.pem").read_bytes()
        (tmp_path / "key.pem").write_bytes(key)
        assert admits(url, client(authority))
        assert "not reloaded" in caplog.text
        (tmp_path / "key.pem").write_bytes(new_key)
        assert admits(url, client(stranger))
        assert not admits(url, client(authority))


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("{}", None, "tls_server_config cannot be switched off"),
        ("{client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}", "{}", "client_auth_type cannot"),
        (
            "{client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [a]}",
            "{client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}",
            "client_allowed_sans cannot",
        ),
    ],
)
@pytest.mark.usefixtures("authority")
def test_nothing_is_switched_off_while_running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: str, after: str | None, named: str
) -> None:
    """A file that asks less of clients than before is refused."""
    file = web(tmp_path, **yaml.safe_load(before))
    old = file.config
    if after is None:
        (tmp_path / "web.yml").write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    else:
        web(tmp_path, **yaml.safe_load(after))
    file.refresh()
    assert file.config is old
    assert named in caplog.text


def test_http2_is_said_not_to_be_spoken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files are shared between exporters, so it is no reason to refuse one."""
    caplog.set_level("INFO")
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {http2: true, headers: {X-Frame-Options: deny}}\n")
    WebConfigFile(file)
    assert "http2 is not supported: HTTP/1.1 is spoken" in caplog.text


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
    with serving(WebConfigFile(file)) as url:
        for content, said in weaker:
            file.write_text(content)
            assert fetch(f"{url}/metrics", context)[0] == 200
            assert f"the old one stays: {file}" in caplog.text
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
    watched = WebConfigFile(file)
    before = watched.context
    file.write_text("tls_server_config: {cert_file: new/cert.pem, key_file: new/key.pem}\n")
    watched.refresh()
    assert watched.context is before
    (tmp_path / "new").mkdir()
    write_certificate(second, tmp_path / "new")
    watched.refresh()
    assert watched.context is not before


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
        (f"{TLS}, min_version: TLS10}}", "min_version is 'TLS10': not supported, it can be broken; allowed are TLS12"),
        (f"{TLS}, min_version: TLS13, max_version: TLS12}}", "min_version is above max_version"),
        (f"{TLS}, client_auth_type: RequireAnyClientCert}}", "not supported, Python verifies every certificate"),
        (f"{TLS}, client_allowed_sans: [a]}}", "client_allowed_sans needs client_auth_type"),
        (f"{TLS}, cipher_suites: [RC4]}}", "cipher_suites is 'RC4'; allowed are TLS_AES_128_GCM_SHA256"),
        (f"{TLS}, cipher_suites: []}}", "cipher_suites must be a list"),
        (f"{TLS}, curve_preferences: [CurveP256, X25519]}}", "more than one curve is not supported"),
        (f"{TLS}, curve_preferences: [P1]}}", "curve_preferences is 'P1'; allowed are CurveP256"),
        (f"{TLS}, prefer_server_cipher_suites: perhaps}}", "allowed are true, false"),
        (f"{TLS}, cert: -----BEGIN CERTIFICATE-----}}", "cert and cert_file are both there"),
        ("tls_server_config: {cert: a, key: b}", "cert must be PEM"),
        ("http_server_config: {http2: perhaps}", "http2 is 'perhaps'; allowed are true, false"),
        ("http_server_config: {headers: {'X Owner': a}}", "'X Owner' is no name of a header"),
        ("rate_limit: {interval: soon, burst: 1}", "interval is 'soon'; allowed are durations such as 500ms"),
        ("rate_limit: {interval: 1s}", "burst is ''; allowed are whole numbers"),
        ("rate_limit: {interval: 1s, burst: 0}", "burst is '0'; allowed are whole numbers"),
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
        WebConfigFile(file)


def test_suites_of_tls_1_2_are_explicit(tmp_path: Path) -> None:
    """Where the file names none: forward secrecy and authenticated encryption, whatever OpenSSL's default is."""
    write_certificate(trustme.CA(), tmp_path)
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    context = WebConfigFile(path).context
    assert context is not None
    names = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"}
    assert names
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in names)


@pytest.mark.parametrize("name", ["Content-Length", "content-type", "Transfer-Encoding", "Connection"])
def test_headers_of_each_answer_cannot_be_set_for_all(tmp_path: Path, name: str) -> None:
    """They would be there twice, or wrong."""
    path = tmp_path / "web.yml"
    path.write_text(f"http_server_config: {{headers: {{{name}: x}}}}\n")
    with pytest.raises(WebConfigError, match=name):
        WebConfigFile(path)
