"""`yoloscope check`: checks the configuration and runs every collector once."""

from __future__ import annotations

import http.client
import stat
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import click
import psutil
from yoloscope_record import paths

from yoloscope_exporter import catalog, collectors
from yoloscope_exporter.collectors import NoData
from yoloscope_exporter.collectors.deadlines import IsolatedThread
from yoloscope_exporter.collectors.runs import WHY_NOT
from yoloscope_exporter.config import Config, ReloadableCommand, settings
from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.fetching import opener
from yoloscope_exporter.language import reason, say, text
from yoloscope_exporter.sampling.sampler import Rejections
from yoloscope_exporter.sampling.sources import Source, SourceFactory
from yoloscope_exporter.system import os, wsl
from yoloscope_exporter.terminal.cells import padded
from yoloscope_exporter.web.config import WebConfigError, WebConfigFile
from yoloscope_exporter.web.server import bound, release

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


OK, NOTE, FAIL = text("ok"), text("note"), text("FAIL")
_COLOURS: dict[str, str] = {OK: "green", NOTE: "yellow", FAIL: "red"}
PATIENCE_SECONDS = 10.0
MAX_REFUSED = 10  # directories that are named


class Finding(NamedTuple):
    """One line of the output."""

    severity: str
    subject: str
    text: str


@click.command(cls=ReloadableCommand, short_help="Check configuration and collectors on this machine, without serving.")
@settings
def check(config: Config) -> None:
    """Check the configuration and every collector on this machine.

    Takes the flags, the environment and the file of `serve`, and runs each collector once. Exit code 0: no failures; 1:
    something does not work; 2: invalid configuration.
    """
    worst = OK
    for finding in findings(config):
        mark = click.style(padded(say(finding.severity), 4), _COLOURS[finding.severity])
        click.echo(f"{mark}  {padded(say(finding.subject), 22)} {finding.text}")
        worst = FAIL if FAIL in (worst, finding.severity) else OK
    click.get_current_context().exit(1 if worst == FAIL else 0)


def findings(config: Config) -> Iterator[Finding]:
    """All findings, each as soon as it is known."""
    yield Finding(
        OK,
        text("configuration"),
        say("collectors {names}", names=", ".join(n for n in collectors.names() if n in config.modules)),
    )
    yield from _web(config)
    yield _address(config)
    yield from _records(config)
    yield _training()
    yield from _wsl(config)
    yield from _sources(config)


def _web(config: Config) -> Iterator[Finding]:
    if config.web_config_file:
        try:
            file = WebConfigFile(config.web_config_file)
        except WebConfigError as error:
            yield Finding(FAIL, text("web configuration"), say(reason(error)))
        else:
            yield Finding(
                OK, text("web configuration"), f"{config.web_config_file}, {'TLS' if file.context else say('no TLS')}"
            )


def _address(config: Config) -> Finding:
    address = config.web_listen_address
    try:
        release(bound(address))
    except OSError as error:
        if _answers(f"{address.url()}/-/healthy"):
            return Finding(NOTE, text("address"), say("{address}: an exporter is running there", address=address))
        return Finding(
            FAIL,
            text("address"),
            say("{address}: {error}; choose another, or port 0", address=address, error=reason(error)),
        )
    return Finding(OK, text("address"), say("{address} is free", address=address))


def _answers(url: str) -> bool:
    try:
        with opener(url).open(url, timeout=2) as answer:
            return bool(answer.read() == b"healthy\n")
    except (OSError, http.client.HTTPException):  # nobody, or somebody who does not speak HTTP
        return False


def _records(config: Config) -> Iterator[Finding]:
    path = config.path_records
    if not path.exists():
        yield Finding(NOTE, text("records"), say("{path} does not exist yet; the first run creates it", path=path))
        return
    if not path.is_dir() or not os.access(path, os.R_OK | os.X_OK):
        yield Finding(
            FAIL,
            text("records"),
            say("{path} is not a readable directory; set YOLOSCOPE_DIR for both sides", path=path),
        )
        return
    problem = _unsafe(path.lstat())
    if problem:
        yield Finding(NOTE, text("records"), say("{path} {problem}", path=path, problem=problem))
    if not os.access(path, os.W_OK):
        yield Finding(
            NOTE,
            text("records"),
            say("{path} can be read but not written: fine for the exporter, not for a training", path=path),
        )
    elif not problem:
        yield Finding(OK, text("records"), str(path))
    refused: list[Finding] = []
    list(paths.run_directories(path, (), lambda *what: refused.append(Finding(NOTE, text("records"), _refusal(*what)))))
    yield from refused[:MAX_REFUSED]


def _unsafe(status: os.stat_result) -> str:
    """What lets one user do to another's records what only the owner should."""
    if stat.S_ISLNK(status.st_mode):
        return text("is a link, which its owner may lead elsewhere: name the directory itself")
    if status.st_uid not in (0, os.geteuid()):
        return text(
            "belongs to the user {owner}, who may remove others' records from it: "
            "let root make it (tmpfiles, the chart, Slurm's prolog: docs/deploy.md)",
            owner=status.st_uid,
        )
    mode = stat.S_IMODE(status.st_mode)
    open_to_all = mode & stat.S_IWOTH and not mode & stat.S_ISVTX
    told = text("has mode {mode:04o}: anybody may remove others' records from it: chmod 1777", mode=mode)
    return told if open_to_all else ""


def _refusal(why: str, owner: int, path: str) -> str:
    """What is wrong with a directory of a user."""
    return say("{path} of the user {owner} is not read: {why}", path=path, owner=owner, why=WHY_NOT[why])


def _training() -> Finding:
    """Versions of Ultralytics and torch in this environment, without importing them."""
    found = {name: _version(name) for name in ("ultralytics", "torch")}
    missing = [name for name, number in found.items() if not number]
    if missing:
        told = say(
            "not in this environment: {missing}; fine if the training has an environment of its own",
            missing=", ".join(missing),
        )
        return Finding(NOTE, text("training"), told)
    return Finding(OK, text("training"), ", ".join(f"{name} {number}" for name, number in found.items()))


def _wsl(config: Config) -> Iterator[Finding]:
    """What is different in WSL2, where this is one."""
    if wsl.is_wsl2(config.path_procfs):
        memory = units.size(psutil.virtual_memory().total)
        told = say(
            "{lacks}; {memory} of memory as .wslconfig allows it; data below /mnt is slow (docs/wsl2.md)",
            lacks=wsl.LACKS,
            memory=memory,
        )
        yield Finding(NOTE, "WSL2", told)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _sources(config: Config) -> Iterator[Finding]:
    rejections = Rejections()
    for source in SourceFactory(config, rejections)(config):
        if source.derived is None:
            yield from _source(source)
    for sample in rejections.samples():
        yield Finding(
            NOTE,
            text("rejected"),
            say(
                "{value:.0f} by {collector}, reason {why}",
                value=sample.value,
                collector=sample.labels[0],
                why=sample.labels[1],
            ),
        )


def _source(source: Source) -> Iterator[Finding]:
    collector = source.collector
    subject = text("collector {name}", name=collector.name)
    thread = IsolatedThread(collector.name)
    begun = time.perf_counter()
    call = thread.call(lambda: _collected(source), PATIENCE_SECONDS)
    seconds = time.perf_counter() - begun
    if not call.done():
        yield Finding(
            FAIL, subject, say("did not finish within {patience_seconds:g} s", patience_seconds=PATIENCE_SECONDS)
        )
        return
    collector.close()
    thread.close()
    if isinstance(error := call.exception(), NoData):
        yield Finding(NOTE, subject, say("has no data here: {error}", error=error))
    elif error is not None:
        yield Finding(FAIL, subject, f"{type(error).__name__}: {say(reason(error))}")
    else:
        yield from _seen(subject, call.result(), seconds)


class _Collected(NamedTuple):
    """How many samples a source gives now, and the GPUs that it says are lost, or have no memory of their own."""

    samples: int
    lost: tuple[str, ...] = ()
    unified: tuple[str, ...] = ()


def _seen(subject: str, found: _Collected, seconds: float) -> Iterator[Finding]:
    if found.lost:
        lost = ", ".join(found.lost)
        told = say(
            "GPU {lost} does not answer: fallen off the bus; dmesg | grep -i xid, then restart the node", lost=lost
        )
        yield Finding(FAIL, subject, told)
        return
    yield Finding(
        OK, subject, say("{samples} samples in {seconds:.1f} ms", samples=found.samples, seconds=seconds * 1000.0)
    )
    if found.unified:
        told = say(
            "the driver knows no memory of its own, as where it shares the CPUs' (Jetson, GB10): the node's is judged"
        )
        yield Finding(NOTE, text("GPU memory"), f"GPU {', '.join(found.unified)}: {told}")


def _collected(source: Source) -> _Collected:
    if source.third_party:
        return _Collected(sum(len(family.samples) for family in source.third_party.collect()))
    samples = list(source.collector.collect())
    lost = tuple(one.labels[0] for one in samples if one.metric is catalog.GPU_UP and not one.value)
    return _Collected(len(samples), lost, _without_memory(samples))


def _without_memory(samples: Sequence[catalog.Sample]) -> tuple[str, ...]:
    """GPUs that are told to exist, and of which no memory is."""
    of = {
        metric: {one.labels[0] for one in samples if one.metric is metric}
        for metric in (catalog.GPU_INFO, catalog.GPU_MEMORY_TOTAL_BYTES)
    }
    return tuple(sorted(of[catalog.GPU_INFO] - of[catalog.GPU_MEMORY_TOTAL_BYTES]))
