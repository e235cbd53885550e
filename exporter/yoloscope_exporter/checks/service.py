"""What the exporter needs: its configuration, an address, the records of runs."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import psutil
from yoloscope_record import paths

from yoloscope_exporter import collectors
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN, Finding
from yoloscope_exporter.collectors.runs import WHY_NOT
from yoloscope_exporter.fetching import SourceError, fetch
from yoloscope_exporter.language import joined, reason, text, units
from yoloscope_exporter.system import os, wsl
from yoloscope_exporter.web.config import WebConfigError
from yoloscope_exporter.web.config_file import WebConfigFile
from yoloscope_exporter.web.server import bound, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yoloscope_exporter.config import Config

MAX_REFUSED = 10  # directories that are named


def findings(config: Config) -> Iterator[Finding]:
    """Configuration, address, record directory, and what is different in WSL2."""
    names = ", ".join(name for name in collectors.names() if name in config.modules)
    yield Finding(OK, text("configuration"), text("collectors {names}", names=names))
    if config.web_config_file:
        yield _web(config.web_config_file)
    yield _address(config)
    yield from _records(config.path_records)
    if wsl.is_wsl2(config.path_procfs):
        yield _wsl()


def _web(file: Path) -> Finding:
    subject = text("web configuration")
    try:
        read = WebConfigFile(file)
    except WebConfigError as error:
        return Finding(FAIL, subject, reason(error))
    return Finding(OK, subject, joined((str(file), "TLS" if read.context else text("no TLS")), ", "))


def _address(config: Config) -> Finding:
    address, subject = config.web_listen_address, text("exporter")
    try:
        release(bound(address))
    except OSError as error:
        if _answers(f"{address.url()}/-/healthy"):
            return Finding(OK, subject, text("{address}: an exporter is running there", address=address))
        told = joined((str(address), reason(error)), ": ")
        return Finding(FAIL, subject, told, text("choose another address, or port 0: --web.listen-address"))
    told = text("{address} is free; `yoloscope run` starts an exporter, or `yoloscope serve`", address=address)
    return Finding(OK, subject, told)


def _answers(url: str) -> bool:
    try:
        return fetch(url, timeout=2.0) == b"healthy\n"
    except SourceError:  # nobody, or somebody who does not speak HTTP
        return False


def _records(path: Path) -> Iterator[Finding]:
    subject = text("records")
    if not path.exists():
        yield Finding(NOTE, subject, text("{path} does not exist yet; the first run creates it", path=path))
        return
    if not path.is_dir() or not os.access(path, os.R_OK | os.X_OK):
        told = text("{path} is not a readable directory", path=path)
        yield Finding(FAIL, subject, told, text("set YOLOSCOPE_DIR for both sides, exporter and training"))
        return
    unsafe = _unsafe(path, path.lstat())
    yield from unsafe
    if not os.access(path, os.W_OK):
        told = text("{path} can be read but not written: fine for the exporter, not for a training", path=path)
        yield Finding(NOTE, subject, told)
    elif not unsafe:
        yield Finding(OK, subject, str(path))
    refused: list[Finding] = []
    list(paths.run_directories(path, (), lambda *what: refused.append(Finding(NOTE, subject, _refusal(*what)))))
    yield from refused[:MAX_REFUSED]


def _unsafe(path: Path, status: os.stat_result) -> list[Finding]:
    """What lets one user do to another's records what only the owner should; one finding or none."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        told = text("{path} is a link, which its owner may lead elsewhere", path=path)
        fix = text("name the directory itself: YOLOSCOPE_DIR")
    elif status.st_uid not in (0, os.geteuid()):
        owner = status.st_uid
        told = text(
            "{path} belongs to the user {owner}, who may remove others' records from it", path=path, owner=owner
        )
        fix = text("let root make it (tmpfiles, the chart, Slurm's prolog: docs/deploy.md)")
    elif mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        told = text("{path} has mode {mode:04o}: anybody may remove others' records from it", path=path, mode=mode)
        fix = text("chmod 1777 {path}", path=path)
    else:
        return []
    return [Finding(WARN, text("records"), told, fix)]


def _refusal(why: str, owner: int, path: str) -> str:
    """What is wrong with a directory of a user."""
    return text("{path} of the user {owner} is not read: {why}", path=path, owner=owner, why=WHY_NOT[why])


def _wsl() -> Finding:
    memory = units.size(psutil.virtual_memory().total)
    told = text(
        "{lacks}; {memory} of memory as .wslconfig allows it; data below /mnt is slow (docs/wsl2.md)",
        lacks=wsl.LACKS,
        memory=memory,
    )
    return Finding(NOTE, "WSL2", told)
