"""`watch()`: shows in a notebook what the second process draws."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from html import escape
from multiprocessing.connection import Client
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoloscope_exporter import SAFE_PATH, pip_install
from yoloscope_exporter.config import types
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import LANGUAGES, of_the_environment, say, speaking, text, translated
from yoloscope_exporter.notebook.sources import Where

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from plotly.graph_objects import Figure

#: Between two pictures, and how much of the time may go into them.
SECONDS, SHARE = 2.0, 0.2
#: What the second process may take to start and to draw: a Prometheus may be slow.
START_SECONDS, ANSWER_SECONDS = 60.0, 150.0
#: So many second processes live at a time, one for each source, and what they may take to end before they are killed.
PROCESSES, END_SECONDS = 4, 2.0


def watch(  # noqa: PLR0913 - each is an option
    *,
    exporter: str | None = None,
    recording: str | os.PathLike[str] | None = None,
    prometheus: str | None = None,
    since: str = "1h",
    run: str = "",
    cluster: str = "",
    background: bool = False,
    language: str | None = None,
) -> Watch:
    """Show the verdict of a run, a timeline of the GPUs, the time per batch of each loader worker, memory by epoch.

    Without a source, it is what the exporter of this node says from now on; where none answers at 127.0.0.1:9911, one
    is started in a second process, which ends with the kernel. Call it before the cell that trains: what nobody
    watched is not shown. Run the cell again, or call `refresh()`, to see more; `background=True` does that every two
    seconds while the training blocks the kernel.

    Args:
        exporter: URL of an exporter.
        recording: a file of `yoloscope record`.
        prometheus: URL of a Prometheus.
        since: how far back to read with `prometheus`.
        run: name of the run; the one that began last without it.
        cluster: only this cluster, with `prometheus`.
        background: keep drawing.
        language: `en` or `zh-CN`.  [default: YOLOSCOPE_LANGUAGE, else the locale's]

    Raises:
        ValueError: an argument that cannot be, with the values it may have.
        yoloscope_exporter.fetching.SourceError: the source cannot be read.
        ImportError: without IPython or plotly.
    """
    chosen = language_of(language, os.environ)
    with speaking(chosen):
        _modules()
        if sum(source is not None for source in (exporter, recording, prometheus)) > 1:
            raise ValueError(say("choose one of exporter=, recording=, prometheus="))
        if cluster and prometheus is None:
            raise ValueError(say("cluster={cluster!r}: only with prometheus=", cluster=cluster))
        if not isinstance(background, bool):
            wrong = say("background={background!r}: use True or False", background=background)
            raise ValueError(wrong)  # noqa: TRY004 - as the others
        where = Where(_url("exporter", exporter), _file(recording), _url("prometheus", prometheus))
        if prometheus is not None:
            where = where._replace(since=_seconds(since), run=run, cluster=cluster)
    return Watch(_helper(where), run, chosen, background=background)


def language_of(chosen: str | None, environ: Mapping[str, str]) -> str:
    """The language that was chosen, else that of the environment.

    Raises:
        ValueError: there is no such language.
    """
    spoken = of_the_environment(environ)
    if chosen is None or chosen in LANGUAGES:
        return chosen or spoken
    wrong = text("language={language!r}: choose one of {languages}", language=chosen, languages=", ".join(LANGUAGES))
    raise ValueError(translated(wrong, spoken))


def _url(name: str, url: str | None) -> str:
    if url is None:
        return ""
    parts = types.url_parts(str(url))
    if not isinstance(url, str) or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(say("{name}={url!r}: use a URL such as http://127.0.0.1:9911", name=name, url=url))
    return url


def _file(recording: str | os.PathLike[str] | None) -> str:
    if recording is None:
        return ""
    path = Path(recording).expanduser().absolute()
    if not path.is_file():
        wrong = say("recording={recording!r}: no such file; use one of `yoloscope record`", recording=str(recording))
        raise ValueError(wrong)
    return str(path)


def _seconds(since: str) -> float:
    try:
        return types.duration(10.0)(since)
    except click.BadParameter as error:
        raise ValueError(say("since={since!r}: {why}", since=since, why=error.message)) from None


def _modules() -> tuple[ModuleType, ModuleType]:
    """IPython's display and plotly's graph objects.

    Raises:
        ImportError: one of them is not installed.
    """
    try:
        import plotly.graph_objects as graphs  # noqa: PLC0415 - of the extra `notebook`
        from IPython import display  # noqa: PLC0415 - of the notebook
    except ImportError as error:
        wrong = say("watch() is for notebooks: {error}; {command}", error=error, command=pip_install("notebook"))
        raise ImportError(wrong) from error
    return display, graphs


class Watch:
    """Pictures of one run, below the cell that called `watch`.

    Attributes:
        figure: what is shown, for whoever wants to change or save it: `watch().figure.write_html("run.html")`.
    """

    figure: Figure

    def __init__(self, helper: Helper, run: str, language: str, *, background: bool) -> None:
        """Show it, and keep drawing if `background`."""
        self._helper, self._language = helper, language
        self._asked = {"run": run, "language": language}
        self._names = {part: f"yoloscope-{part}-{secrets.token_hex(8)}" for part in ("heading", "figure")}
        self._over = threading.Event()
        self._draw(update=False)
        if background:
            helper.taken_over(self._asked, self._over)
            threading.Thread(target=self._keep_drawing, name="yoloscope-watch", daemon=True).start()

    def refresh(self) -> None:
        """Draw again, in the same place, with what has come since.

        Raises:
            SourceError: the source cannot be read.
        """
        self._draw(update=True)

    def stop(self) -> None:
        """Draw no more in the background; what is shown stays."""
        self._over.set()

    def _ipython_display_(self) -> None:
        """Nothing: as the last line of a cell it has shown itself already."""

    def _draw(self, *, update: bool) -> None:
        drawn = self._helper.ask(self._asked)
        display, graphs = _modules()
        self.figure = graphs.Figure(drawn["figure"])
        self._show(drawn["html"], update=update)
        bundle = dict(self.figure._repr_mimebundle_() or {})
        bundle.setdefault("text/plain", "yoloscope")
        display.display(bundle, raw=True, display_id=self._names["figure"], update=update)

    def _show(self, html: str, *, update: bool) -> None:
        display, _ = _modules()
        display.display(display.HTML(html), display_id=self._names["heading"], update=update)

    def _keep_drawing(self) -> None:
        """Draw every SECONDS, or as much more rarely as the machine is busy; never let anything out into the kernel."""
        pause = SECONDS
        while not self._over.wait(pause):
            began = time.monotonic()
            try:
                self._draw(update=True)
            except Exception as error:  # noqa: BLE001 - a thread beside a training
                with suppress(Exception), speaking(self._language):
                    self._show(escape(say("cannot be drawn: {why}", why=error)), update=True)
            pause = max(SECONDS, (time.monotonic() - began) / SHARE)


@cache
def _helper(where: Where) -> Helper:
    """One for each source, as long as the kernel lives: what it has seen is shown to every `watch` of it."""
    return Helper(where)


#: Those with a process, the one that was asked last at the end.
_asked: list[Helper] = []
_asking = threading.Lock()


def _make_room(helper: Helper) -> None:
    """End what was not asked for longest where there are more than PROCESSES; what is drawn all the time goes on."""
    with _asking:
        _asked[:] = [one for one in _asked if one is not helper]
        idle = [one for one in _asked if not one.draws()]
        over = idle[: max(0, len(_asked) + 1 - PROCESSES)]
        _asked[:] = [*(one for one in _asked if one not in over), helper]
    for one in over:
        one.end()


class Helper:
    """The second process, seen from the kernel."""

    def __init__(self, where: Where) -> None:
        """It is started when it is asked first, and again if it has died."""
        self._where = where
        self._key = secrets.token_hex(32)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._address = ""
        self._drawing: dict[tuple[str, ...], threading.Event] = {}

    def ask(self, question: dict[str, str]) -> dict[str, Any]:
        """What it draws.

        Raises:
            ValueError: of an argument.
            SourceError: it cannot be started, does not answer, or its source cannot be read.
        """
        language = question["language"]
        _make_room(self)
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start(language)
        try:
            with Client(self._address, authkey=bytes.fromhex(self._key)) as connection:
                connection.send_bytes(json.dumps(question).encode())
                if not connection.poll(ANSWER_SECONDS):
                    slow = text("the second process takes more than {seconds:g} s to draw", seconds=ANSWER_SECONDS)
                    raise SourceError(translated(slow, language))
                answer: dict[str, Any] = json.loads(connection.recv_bytes())
        except (OSError, EOFError) as error:
            raise SourceError(
                translated(text("the second process has ended: {error}", error=error), language)
            ) from error
        if "error" in answer:
            raise (ValueError if answer.get("kind") == "argument" else SourceError)(answer["error"])
        return answer

    def taken_over(self, question: dict[str, str], over: threading.Event) -> None:
        """Who asks the same in the background ends now: its cell was run again. `over` ends the new one."""
        key = tuple(question.values())
        if before := self._drawing.get(key):
            before.set()
        self._drawing[key] = over

    def draws(self) -> bool:
        """Whether a picture of it is drawn in the background."""
        return not all(over.is_set() for over in list(self._drawing.values()))

    def end(self) -> None:
        """End the second process, until it is asked again; the kernel's own end does that, too."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                _kill(process)

    def _start(self, language: str) -> None:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "yoloscope_exporter.notebook.helper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **SAFE_PATH},
                text=True,
                start_new_session=True,  # interrupting the kernel is not meant for it
            )
            try:
                answer = _first_words(process, {"where": self._where, "key": self._key, "language": language})
            except BaseException:
                _kill(process)
                raise
            if "address" not in answer:
                _kill(process)
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                last = text("the second process does not start: {last}", last=" ".join(lines[-1:]))
                raise SourceError(answer.get("error") or translated(last, language))
        self._process, self._address = process, answer["address"]


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _first_words(process: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, str]:
    """What it says to begin with; nothing where it dies or takes too long."""
    assert process.stdin  # noqa: S101 - they are pipes
    assert process.stdout  # noqa: S101
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    try:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer: dict[str, str] = json.loads(process.stdout.readline() or "{}")
    except OSError:
        return {}
    finally:
        timer.cancel()
    return answer
