"""The web configuration of a running server: its file is followed, and what it says put to use.

As in the exporter-toolkit, the file is looked at again for each connection and request, so users and certificates can
be changed without a restart. Passwords and TLS do not end that way: a file that was emptied, cut short or mistyped
would open the server to everybody. What is refused is said, and what was goes on.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.language import text
from yoloscope_exporter.web.config import GOOD_SUITES, WebConfigError, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yoloscope_exporter.web.config import Tls, WebConfig

_log = logging.getLogger(__name__)


def check_reload(path: Path, old: WebConfig, new: WebConfig) -> None:
    """Refuse a configuration that would end authentication or TLS of a running server.

    Raises:
        WebConfigError: what would end.
    """
    old_sans, new_sans = (bool(one.tls and one.tls.allowed_sans) for one in (old, new))
    ends = (
        ("basic_auth_users", bool(old.users) and not new.users),
        ("tls_server_config", bool(old.tls) and not new.tls),
        ("client_auth_type", new.client_auth < old.client_auth),
        ("client_allowed_sans", old_sans and not new_sans),
    )
    for name, ended in ends:
        if ended:
            raise WebConfigError(
                path, text("{name} cannot be switched off while the exporter runs; restart it to do so", name=name)
            )


def ssl_context(path: Path, tls: Tls) -> ssl.SSLContext:
    """A server's context from `tls_server_config` of the file `path`.

    Raises:
        WebConfigError: certificate or key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = tls.versions
    if not tls.prefer_own_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    names = ", ".join([*map(str, tls.files.values()), *tls.inline])
    try:
        if special := [str(file) for file in tls.files.values() if not stat.S_ISREG(file.stat().st_mode)]:
            raise WebConfigError(
                path, text("{special} is no regular file", special=special[0])
            )  # a FIFO would be waited for
        context.set_ciphers(":".join(tls.ciphers or GOOD_SUITES))
        if tls.curve:
            context.set_ecdh_curve(tls.curve)
        with ExitStack() as stack:
            files = {**tls.files, **_as_files(stack, tls.inline)}
            context.load_cert_chain(files["cert_file"], files["key_file"], password="")  # or it asks a terminal
            if "client_ca_file" in files:
                context.load_verify_locations(files["client_ca_file"])
    except OSError as error:
        raise WebConfigError(path, text("cannot load {names}: {error}", names=names, error=error)) from error
    context.verify_mode = tls.client_auth
    return context


def _as_files(stack: ExitStack, inline: Mapping[str, str]) -> dict[str, Path]:
    """Files with what the configuration holds itself, by the keys they would have there: Python loads files only."""
    if not inline:
        return {}
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # which nobody else may enter
    files = {f"{key}_file": directory / key for key in inline}
    for key, content in inline.items():
        files[f"{key}_file"].write_text(content, encoding="ascii")
    return files


class WebConfigFile:
    """A configuration that follows its file. Used by the web's thread only, once it serves."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            WebConfigError: what is wrong with it.
        """
        self._path = path
        self.config = load(path)
        """What holds."""
        self.context = self._context(self.config)
        """For the next connection; None for plain HTTP."""
        self._watched = (path, *self.config.files)
        self._stamps, self._problem = _stamps(self._watched), ""
        self._note()

    def refresh(self) -> None:
        """Reload if one of the files has changed; if it is invalid the old configuration stays."""
        stamps = _stamps(self._watched)
        if stamps == self._stamps:
            return
        self._stamps = stamps  # bad files, too, are read once and not for every connection
        try:
            self._apply(load(self._path))
        except WebConfigError as error:
            if str(error) != self._problem:
                _log.error("web configuration not reloaded, the old one stays: %s", error)
            self._problem = str(error)

    def _apply(self, config: WebConfig) -> None:
        # those in use, and those that may yet be mended
        self._watch(*self.config.files, *config.files)
        check_reload(self._path, self.config, config)
        self.context = self._context(config)
        self.config, self._problem = config, ""
        self._watch(*config.files)
        self._note()

    def _watch(self, *files: Path) -> None:
        watched = tuple(dict.fromkeys((self._path, *files)))
        if watched != self._watched:
            self._watched, self._stamps = watched, _stamps(watched)

    def _note(self) -> None:
        for note in self.config.notes:
            _log.info("%s: %s", self._path, note)

    def _context(self, config: WebConfig) -> ssl.SSLContext | None:
        return ssl_context(self._path, config.tls) if config.tls else None


def _stamps(paths: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """What changes with a file's content; empty for a file that is not there."""
    return tuple(map(_stamp, paths))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time, and each request waits for it
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns
