"""TLS and basic authentication from a file in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, of which this understands
`tls_server_config` (cert_file, key_file, client_auth_type, client_ca_file, min_version), `basic_auth_users` and
`http_server_config.headers`. As there, the file is looked at again for each connection, so users and certificates can
be changed without a restart.
"""

from __future__ import annotations

import base64
import hmac
import logging
import os
import re
import ssl
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CACHE_SIZE = 100
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_TLS_KEYS = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version")
#: A hash that no password has; checked for unknown users so that they take as long as known ones.
_NOBODY = "$2b$10$TI.Fqqs/7lYL2O2xTdXhAeVNTJCxxSgqMHdMS2CNLtV1jgP9OeYzu"

_SENDABLE = re.compile(r"[\x20-\x7e\xa0-\xff]*").fullmatch

_log = logging.getLogger(__name__)


class WebConfigError(Exception):
    """The file says something that cannot be."""


@dataclass(frozen=True)
class WebConfig:
    """What the file says."""

    tls: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> WebConfig:
    """Read and check the file.

    Raises:
        WebConfigError: what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WebConfigError(f"{path}: not readable as YAML: {error}") from error
    tables = ("tls_server_config", "http_server_config", "basic_auth_users")
    _known(path, "the file", content, tables)
    tls = _known(path, "tls_server_config", content.get("tls_server_config") or {}, _TLS_KEYS)
    http = _known(path, "http_server_config", content.get("http_server_config") or {}, ("headers", "http2"))
    headers = _known(path, "headers", http.get("headers") or {}, None)
    users = _known(path, "basic_auth_users", content.get("basic_auth_users") or {}, None)
    if tls and not {"cert_file", "key_file"} <= tls.keys():
        raise WebConfigError(f"{path}: tls_server_config needs cert_file and key_file")
    _one_of(path, "client_auth_type", tls.get("client_auth_type", "NoClientCert"), _CLIENT_AUTH)
    _one_of(path, "min_version", tls.get("min_version", "TLS12"), _VERSIONS)
    for name, value in headers.items():
        if not _SENDABLE(f"{name}{value}"):
            raise WebConfigError(
                f"{path}: the header {name!r} must be printable Latin-1, for that is all HTTP can send"
            )
    for user, value in users.items():
        if not str(value).startswith(("$2a$", "$2b$", "$2y$")):
            raise WebConfigError(f"{path}: the password of {user!r} must be a bcrypt hash: htpasswd -nBC 10 {user}")
    files = {key: str(path.parent / value) if key.endswith("_file") else str(value) for key, value in tls.items()}
    return WebConfig(files, _texts(users), _texts(headers))


def _texts(content: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in content.items()}


def _known(path: Path, where: str, content: Any, keys: Iterable[str] | None) -> dict[str, Any]:  # noqa: ANN401 - YAML
    if not isinstance(content, dict):
        raise WebConfigError(f"{path}: {where} must be a mapping")
    unknown = sorted(map(str, content.keys() - set(keys))) if keys is not None else []
    if unknown:
        raise WebConfigError(f"{path}: unknown key {unknown[0]!r} in {where}; allowed are {', '.join(keys or ())}")
    return content


def _one_of(path: Path, key: str, value: object, allowed: Iterable[str]) -> None:
    if value not in tuple(allowed):
        raise WebConfigError(f"{path}: {key} is {value!r}; allowed are {', '.join(allowed)}")


def ssl_context(tls: Mapping[str, str]) -> ssl.SSLContext:
    """A server's context from `tls_server_config`.

    Raises:
        WebConfigError: certificate or key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.get("min_version", "TLS12")]
    try:
        context.load_cert_chain(tls["cert_file"], tls["key_file"])
        if "client_ca_file" in tls:
            context.load_verify_locations(tls["client_ca_file"])
    except (OSError, ssl.SSLError) as error:
        raise WebConfigError(f"cannot load {tls['cert_file']} and {tls['key_file']}: {error}") from error
    context.verify_mode = _CLIENT_AUTH[tls.get("client_auth_type", "NoClientCert")]
    return context


class Guard:
    """Holds the file's content, looks whether it has changed, and says who may ask."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            WebConfigError: what is wrong with it.
        """
        self._path = path
        self._lock = threading.Lock()
        self._config = load(path)
        self._ssl = ssl_context(self._config.tls) if self._config.tls else None
        self._stamp, self._problem = self._now(), ""
        self._cache: dict[bytes, bool] = {}

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self._ssl is not None

    def context(self) -> ssl.SSLContext | None:
        """The context for a new connection, None for plain HTTP."""
        self._refresh()
        return self._ssl

    def _now(self) -> tuple[float, ...]:
        tls = self._config.tls
        paths = [self._path, *(Path(tls[key]) for key in ("cert_file", "key_file", "client_ca_file") if key in tls)]
        return tuple(os.stat(path).st_mtime for path in paths)  # noqa: PTH116 - one call for both kinds of path

    def _refresh(self) -> None:
        with self._lock:
            try:
                stamp = self._now()
                if stamp == self._stamp:
                    return
                config = load(self._path)
                context = ssl_context(config.tls) if config.tls else None
            except (WebConfigError, OSError) as error:
                if str(error) != self._problem:  # it is looked at for every connection, and said once
                    _log.warning("the web configuration stays as it was: %s", error)
                self._problem = str(error)
                return
            self._config, self._ssl, self._cache = config, context, {}
            self._stamp, self._problem = self._now(), ""

    @property
    def headers(self) -> Mapping[str, str]:
        """What each answer says beside its own headers."""
        return self._config.headers

    def admits(self, authorization: str) -> bool:
        """Whether who sends this header Authorization may ask."""
        self._refresh()
        users = self._config.users
        return not users or self._allowed(users, authorization)

    def _allowed(self, users: Mapping[str, str], header: str) -> bool:
        user, password = _credentials(header)
        stored = users.get(user, _NOBODY)
        key = sha256(b"\0".join((user.encode(), password, stored.encode()))).digest()
        known = self._cache.get(key)
        if known is None:
            known = _matches(password, stored) and user in users
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[key] = known
        return known


def _credentials(header: str) -> tuple[str, bytes]:
    scheme, _, value = header.partition(" ")
    if not hmac.compare_digest(scheme.lower().encode(), b"basic"):
        return "", b""
    try:
        user, _, password = base64.b64decode(value, validate=True).partition(b":")
        return user.decode(), password
    except ValueError:  # of base64, or of UTF-8
        return "", b""


def _matches(password: bytes, stored: str) -> bool:
    import bcrypt  # noqa: PLC0415 - only those who use passwords pay for it

    try:
        return bcrypt.checkpw(password[:72], stored.encode())  # bcrypt reads no more than 72 bytes
    except ValueError:
        return False
