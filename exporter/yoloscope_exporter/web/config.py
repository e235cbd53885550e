"""What a web configuration says, in the format of Prometheus' exporter-toolkit: TLS, users, headers, or what is wrong.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md; docs/exporter.md lists its keys
with what becomes of each.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import yaml_files
from yoloscope_exporter.language import text
from yoloscope_exporter.yaml_files import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
#: Values of the exporter-toolkit that are refused, and why.
_UNSUPPORTED = {
    "TLS10": text("not supported, it can be broken"),
    "TLS11": text("not supported, it can be broken"),
    "RequireAnyClientCert": text("not supported, Python verifies every certificate that it requires"),
    "RequireClientCert": text("not supported, Python verifies every certificate that it requires"),
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
#: Go's names of its suites for TLS 1.2, and OpenSSL's.
_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{theirs}": f"ECDHE-{key}-{ours}"
    for key in ("ECDSA", "RSA")
    for theirs, ours in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
#: Of these the ones that are taken where the file names none: forward secrecy, and encryption that authenticates.
GOOD_SUITES = tuple(suite for suite in _SUITES.values() if not suite.endswith("SHA"))
_OF_THE_ANSWER = ("connection", "content-encoding", "content-length", "content-type", "transfer-encoding")
_TLS_FILES = ("cert_file", "key_file", "client_ca_file")
_TLS_INLINE = ("cert", "key", "client_ca")
_TLS_TEXTS = ("client_auth_type", "min_version", "max_version", "prefer_server_cipher_suites")
_TLS_LISTS = ("client_allowed_sans", "cipher_suites", "curve_preferences")
_TLS_KEYS = (*_TLS_FILES, *_TLS_INLINE, *_TLS_TEXTS, *_TLS_LISTS)
_SWITCH = {"true": True, "false": False}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}").fullmatch
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_SENDABLE = re.compile(r"[\x20-\x7e\xa0-\xff]*").fullmatch
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)").fullmatch


class WebConfigError(SettingsFileError):
    """The web configuration file is invalid."""


@dataclass(frozen=True)
class Tls:
    """The section `tls_server_config`. What has a file and an inline form has one of them."""

    files: Mapping[str, Path]
    """By key."""
    inline: Mapping[str, str]
    """By key, as PEM."""
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    """Whether clients must prove who they are by a certificate."""
    allowed_sans: frozenset[str] = frozenset()
    """Whom a client's certificate must be for; empty for anybody."""
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    ciphers: tuple[str, ...] = ()
    """OpenSSL's names of those for TLS 1.2; empty for its choice."""
    prefer_own_ciphers: bool = True
    curve: str = ""


@dataclass(frozen=True)
class RateLimit:
    """The section `rate_limit`: a bucket of `burst` requests, filled by one every `interval` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True)
class WebConfig:
    """Content of the file."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    """Hash of the password by name; empty lets everybody ask."""
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    notes: tuple[str, ...] = ()
    """Settings that are ignored, and why."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it names."""
        return tuple(self.tls.files.values()) if self.tls else ()

    @property
    def client_auth(self) -> ssl.VerifyMode:
        """Whether clients must prove who they are by a certificate."""
        return self.tls.client_auth if self.tls else ssl.CERT_NONE

    def may_connect(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this verified certificate, as `getpeercert` gives it, is one of those allowed."""
        allowed = self.tls.allowed_sans if self.tls else frozenset()
        names = (certificate or {}).get("subjectAltName", ())
        return not allowed or any(_canonical(name) in allowed for _kind, name in names)


class _ProblemError(Exception):
    """What is wrong, without the file's name."""


def load(path: Path) -> WebConfig:
    """Read and check the file.

    Raises:
        WebConfigError: what is wrong with it.
    """
    try:
        content = yaml_files.load(path)
    except SettingsFileError as error:
        raise WebConfigError(path, error.problem) from error
    try:
        return _web_config(path.parent, content)
    except _ProblemError as error:
        raise WebConfigError(path, error) from error


def _web_config(directory: Path, content: Any) -> WebConfig:  # noqa: ANN401 - YAML
    if not content:
        raise _ProblemError(text("says nothing; leave --web.config.file out to serve everybody without TLS"))
    _known(text("the file"), content, ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"))
    http = _section(content, "http_server_config")
    _known("http_server_config", http, ("headers", "http2"))
    return WebConfig(
        tls=_tls(directory, _section(content, "tls_server_config")),
        users=_users(_texts("basic_auth_users", _section(content, "basic_auth_users"))),
        headers=_headers(_texts("headers", _section(http, "headers"))),
        rate_limit=_rate_limit(_texts("rate_limit", _section(content, "rate_limit"))),
        notes=(text("http2 is not supported: HTTP/1.1 is spoken, which every Prometheus understands"),)
        if _choice("http2", http, "false", _SWITCH)
        else (),
    )


def _tls(directory: Path, section: Mapping[str, Any]) -> Tls | None:
    _known("tls_server_config", section, _TLS_KEYS)
    if not section:
        return None
    lists = {key: _list(key, section[key]) for key in _TLS_LISTS if key in section}
    inline = {key: _pem(key, section[key]) for key in _TLS_INLINE if key in section}
    texts = _texts("tls_server_config", {key: section[key] for key in section if key not in (*lists, *inline)})
    _check_forms(texts, inline)
    auth = _client_auth(texts, section)
    if "client_allowed_sans" in lists and auth == ssl.CERT_NONE:
        raise _ProblemError(text("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"))
    versions = _choice("min_version", texts, "TLS12", _VERSIONS), _choice("max_version", texts, "TLS13", _VERSIONS)
    if versions[0] > versions[1]:
        raise _ProblemError(text("min_version is above max_version"))
    suites = lists.get("cipher_suites", ())
    for suite in suites:
        _choice("cipher_suites", {"cipher_suites": suite}, "", (*_TLS13_SUITES, *_SUITES))
    ciphers = tuple(_SUITES[suite] for suite in suites if suite in _SUITES)
    if suites and not ciphers:  # none of TLS 1.2, so there is no speaking it
        versions = (ssl.TLSVersion.TLSv1_3, versions[1])
    return Tls(
        files={key: directory / texts[key] for key in _TLS_FILES if key in texts},
        inline=inline,
        client_auth=auth,
        allowed_sans=frozenset(map(_canonical, lists.get("client_allowed_sans", ()))),
        versions=versions,
        ciphers=ciphers,
        prefer_own_ciphers=_choice("prefer_server_cipher_suites", texts, "true", _SWITCH),
        curve=_curve(lists.get("curve_preferences", ())),
    )


def _check_forms(texts: Mapping[str, str], inline: Mapping[str, str]) -> None:
    for key in _TLS_INLINE:
        if key in inline and f"{key}_file" in texts:
            raise _ProblemError(text("{key} and {key}_file are both there; one of them is enough", key=key))
    if not all(key in inline or f"{key}_file" in texts for key in ("cert", "key")):
        raise _ProblemError(text("tls_server_config needs cert_file and key_file (or cert and key, as text)"))


def _client_auth(texts: Mapping[str, str], section: Mapping[str, Any]) -> ssl.VerifyMode:
    found: ssl.VerifyMode = _choice("client_auth_type", texts, "NoClientCert", _CLIENT_AUTH)
    name = texts.get("client_auth_type", "NoClientCert")
    authority = next((key for key in ("client_ca_file", "client_ca") if key in section), None)
    if authority and name == "NoClientCert":  # it looks as if clients were checked, and none would be
        wanted = ", ".join(other for other in _CLIENT_AUTH if other != name)
        raise _ProblemError(
            text(
                "{authority} without a client_auth_type that asks for one: {wanted}", authority=authority, wanted=wanted
            )
        )
    if not authority and found != ssl.CERT_NONE:  # no certificate would be good enough
        raise _ProblemError(text("client_auth_type {name} needs client_ca_file", name=name))
    return found


def _curve(names: tuple[str, ...]) -> str:
    if len(names) > 1:
        raise _ProblemError(
            text("curve_preferences with more than one curve is not supported, Python sets one; name one")
        )
    return next((_choice("curve_preferences", {"curve_preferences": name}, "", _CURVES) for name in names), "")


def _rate_limit(section: Mapping[str, str]) -> RateLimit | None:
    _known("rate_limit", section, ("interval", "burst"))
    if not section or section.get("interval", "0") in {"0", "0s"}:
        return None
    interval, burst = _DURATION(section["interval"]), section.get("burst", "")
    if interval is None:
        raise _ProblemError(
            text(
                "interval is {interval!r}; allowed are durations such as 500ms, 1s, 1m, and 0",
                interval=section["interval"],
            )
        )
    if not re.fullmatch(r"[1-9]\d{0,8}", burst):
        raise _ProblemError(text("burst is {burst!r}; allowed are whole numbers from 1 on", burst=burst))
    return RateLimit(float(interval[1]) * _UNITS[interval[2]], int(burst))


def _users(users: dict[str, str]) -> dict[str, str]:
    for user, value in users.items():
        if not _BCRYPT(value):
            raise _ProblemError(
                text("the password of {user!r} must be a bcrypt hash: htpasswd -nBC 10 {user}", user=user)
            )
    return users


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _SENDABLE(f"{name}{value}"):
            raise _ProblemError(
                text("the header {name!r} must be printable Latin-1, for that is all HTTP can send", name=name)
            )
        if not _TOKEN(name):
            raise _ProblemError(text("{name!r} is no name of a header", name=name))
        if name.lower() in _OF_THE_ANSWER:
            raise _ProblemError(text("the header {name!r} is each answer's own, it cannot be set for all", name=name))
    return headers


def _section(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping with something in it, or nothing where the key is not there."""
    if key not in content:
        return {}
    section = content[key]
    if section is None or section == {}:
        raise _ProblemError(text("{key} is empty; leave the line out if that is meant", key=key))
    if not isinstance(section, dict):
        raise _ProblemError(text("{key} must be a mapping", key=key))
    return section


def _texts(where: str, section: Mapping[Any, Any]) -> dict[str, str]:
    for key, value in section.items():
        if not isinstance(key, str) or not isinstance(value, str) or not value or not value.isprintable():
            raise _ProblemError(text("{key!r} in {where} must have one value, printable text", key=key, where=where))
    return dict(section)


def _list(key: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - YAML
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise _ProblemError(text("{key} must be a list with at least one text", key=key))
    return tuple(value)


def _pem(key: str, value: Any) -> str:  # noqa: ANN401 - YAML
    if not isinstance(value, str) or "-----BEGIN " not in value or not value.isascii():
        raise _ProblemError(text("{key} must be PEM, as text; for a file there is {key}_file", key=key))
    return value


def _known(where: str, content: Any, keys: Iterable[str]) -> None:  # noqa: ANN401 - YAML
    if not isinstance(content, dict):
        raise _ProblemError(text("{where} must be a mapping", where=where))
    unknown = sorted(map(str, content.keys() - set(keys)))
    if unknown:
        raise _ProblemError(
            text(
                "unknown key {unknown!r} in {where}; allowed are {keys}",
                unknown=unknown[0],
                where=where,
                keys=", ".join(keys),
            )
        )


def _choice(key: str, texts: Mapping[str, Any], default: str, allowed: Any) -> Any:  # noqa: ANN401 - any mapping's values
    """What the text means; for a sequence of names the name itself."""
    value = texts.get(key, default)
    if not isinstance(value, str) or value not in allowed:
        reason = f": {_UNSUPPORTED[value]}" if isinstance(value, str) and value in _UNSUPPORTED else ""
        raise _ProblemError(
            text(
                "{key} is {value!r}{reason}; allowed are {allowed}",
                key=key,
                value=value,
                reason=reason,
                allowed=", ".join(allowed),
            )
        )
    return allowed[value] if isinstance(allowed, dict) else value


def _canonical(name: str) -> str:
    """A name of a certificate: addresses are written in several ways."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(name))
    return name
