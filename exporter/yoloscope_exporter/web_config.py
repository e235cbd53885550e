"""TLS and basic authentication from a file in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, of which this understands
`tls_server_config` (cert_file, key_file, client_auth_type, client_ca_file, min_version), `basic_auth_users` and
`http_server_config.headers`. As there, the file is looked at again for each connection, so users and certificates can
be changed without a restart. Passwords and TLS do not end that way: a file that was emptied, cut short or mistyped
would open the server to everybody. What is refused is said, and what was goes on.
"""

from __future__ import annotations

import base64
import hmac
import logging
import os
import re
import ssl
import stat
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import settings_file
from yoloscope_exporter.settings_file import SettingsFileError

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
_TLS_FILES = ("cert_file", "key_file", "client_ca_file")
_TLS_KEYS = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version")
#: A hash that no password has; checked for unknown users so that they take as long as known ones.
_NOBODY = "$2b$10$TI.Fqqs/7lYL2O2xTdXhAeVNTJCxxSgqMHdMS2CNLtV1jgP9OeYzu"

_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}").fullmatch
_SENDABLE = re.compile(r"[\x20-\x7e\xa0-\xff]*").fullmatch

_log = logging.getLogger(__name__)


class WebConfigError(SettingsFileError):
    """The file says something that cannot be."""


@dataclass(frozen=True)
class WebConfig:
    """What the file says."""

    tls: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it names."""
        return tuple(Path(self.tls[key]) for key in _TLS_FILES if key in self.tls)

    @property
    def client_auth(self) -> ssl.VerifyMode:
        """Whether clients must prove who they are by a certificate."""
        return _CLIENT_AUTH[self.tls.get("client_auth_type", "NoClientCert")]


def load(path: Path) -> WebConfig:
    """Read and check the file.

    Raises:
        WebConfigError: what is wrong with it.
    """
    try:
        content = settings_file.load(path)
    except SettingsFileError as error:
        raise WebConfigError(path, error.problem) from error
    if not content:
        raise WebConfigError(path, "says nothing; leave --web.config.file out to serve everybody without TLS")
    _known(path, "the file", content, ("tls_server_config", "http_server_config", "basic_auth_users"))
    tls = _texts(path, "tls_server_config", _section(path, content, "tls_server_config"))
    users = _texts(path, "basic_auth_users", _section(path, content, "basic_auth_users"))
    http = _section(path, content, "http_server_config")
    _known(path, "http_server_config", http, ("headers", "http2"))
    headers = _texts(path, "headers", _section(path, http, "headers"))
    _check_tls(path, tls)
    _check_users(path, users)
    _check_headers(path, headers)
    files = {key: str(path.parent / value) if key in _TLS_FILES else value for key, value in tls.items()}
    return WebConfig(files, users, headers)


def _section(path: Path, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping with something in it, or nothing where the key is not there."""
    if key not in content:
        return {}
    section = content[key]
    if section is None or section == {}:
        raise WebConfigError(path, f"{key} is empty; leave the line out if that is meant")
    if not isinstance(section, dict):
        raise WebConfigError(path, f"{key} must be a mapping")
    return section


def _texts(path: Path, where: str, section: Mapping[Any, Any]) -> dict[str, str]:
    for key, value in section.items():
        if not isinstance(key, str) or not isinstance(value, str) or not value or not value.isprintable():
            raise WebConfigError(path, f"{key!r} in {where} must have one value, printable text")
    return dict(section)


def _known(path: Path, where: str, content: Any, keys: Iterable[str]) -> None:  # noqa: ANN401 - YAML
    if not isinstance(content, dict):
        raise WebConfigError(path, f"{where} must be a mapping")
    unknown = sorted(map(str, content.keys() - set(keys)))
    if unknown:
        raise WebConfigError(path, f"unknown key {unknown[0]!r} in {where}; allowed are {', '.join(keys)}")


def _one_of(path: Path, key: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise WebConfigError(path, f"{key} is {value!r}; allowed are {', '.join(allowed)}")


def _check_tls(path: Path, tls: Mapping[str, str]) -> None:
    _known(path, "tls_server_config", tls, _TLS_KEYS)
    if not tls:
        return
    if not {"cert_file", "key_file"} <= tls.keys():
        raise WebConfigError(path, "tls_server_config needs cert_file and key_file")
    auth = tls.get("client_auth_type", "NoClientCert")
    _one_of(path, "client_auth_type", auth, _CLIENT_AUTH)
    _one_of(path, "min_version", tls.get("min_version", "TLS12"), _VERSIONS)
    if "client_ca_file" in tls and auth == "NoClientCert":  # it looks as if clients were checked, and none would be
        wanted = ", ".join(name for name in _CLIENT_AUTH if name != auth)
        raise WebConfigError(path, f"client_ca_file without a client_auth_type that asks for one: {wanted}")
    if "client_ca_file" not in tls and _CLIENT_AUTH[auth] != ssl.CERT_NONE:  # no certificate would be good enough
        raise WebConfigError(path, f"client_auth_type {auth} needs client_ca_file")


def _check_users(path: Path, users: Mapping[str, str]) -> None:
    for user, value in users.items():
        if not _BCRYPT(value):
            raise WebConfigError(path, f"the password of {user!r} must be a bcrypt hash: htpasswd -nBC 10 {user}")


def _check_headers(path: Path, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _SENDABLE(f"{name}{value}"):
            raise WebConfigError(path, f"the header {name!r} must be printable Latin-1, for that is all HTTP can send")


def check_successor(path: Path, old: WebConfig, new: WebConfig) -> None:
    """Refuse to let a running server, which is trusted to ask who comes, ask less.

    Raises:
        WebConfigError: what would end.
    """
    ends = (
        ("basic_auth_users", bool(old.users) and not new.users),
        ("tls_server_config", bool(old.tls) and not new.tls),
        ("client_auth_type", new.client_auth < old.client_auth),
    )
    for name, ended in ends:
        if ended:
            raise WebConfigError(path, f"{name} cannot be switched off while the exporter runs; restart it to do so")


def ssl_context(path: Path, tls: Mapping[str, str]) -> ssl.SSLContext:
    """A server's context from `tls_server_config` of the file `path`.

    Raises:
        WebConfigError: certificate or key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.get("min_version", "TLS12")]
    names = [tls[key] for key in _TLS_FILES if key in tls]
    try:
        if special := [name for name in names if not stat.S_ISREG(os.stat(name).st_mode)]:  # noqa: PTH116 - text
            raise WebConfigError(path, f"{special[0]} is no regular file")  # a FIFO would be waited for
        context.load_cert_chain(tls["cert_file"], tls["key_file"], password="")  # or it asks a terminal
        if "client_ca_file" in tls:
            context.load_verify_locations(tls["client_ca_file"])
    except OSError as error:
        raise WebConfigError(path, f"cannot load {', '.join(names)}: {error}") from error
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
        self._ssl = self._context(self._config)
        self._watched = (path, *self._config.files)
        self._stamps, self._problem = _stamps(self._watched), ""
        self._cache: dict[bytes, bool] = {}

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self._ssl is not None

    def context(self) -> ssl.SSLContext | None:
        """The context for a new connection, None for plain HTTP."""
        self._refresh()
        return self._ssl

    def _context(self, config: WebConfig) -> ssl.SSLContext | None:
        return ssl_context(self._path, config.tls) if config.tls else None

    def _refresh(self) -> None:
        with self._lock:
            stamps = _stamps(self._watched)
            if stamps == self._stamps:
                return
            self._stamps = stamps  # bad files, too, are read once and not for every connection
            try:
                self._take(load(self._path))
            except WebConfigError as error:
                if str(error) != self._problem:
                    _log.error("the web configuration stays as it was: %s", error)
                self._problem = str(error)

    def _take(self, config: WebConfig) -> None:
        # those in use, and those that may yet be mended
        self._watched = tuple(dict.fromkeys((self._path, *self._config.files, *config.files)))
        check_successor(self._path, self._config, config)
        self._ssl = self._context(config)
        self._config, self._cache, self._problem = config, {}, ""
        self._watched = (self._path, *config.files)

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


def _stamps(paths: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """What changes with a file's content; empty for a file that is not there."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


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
