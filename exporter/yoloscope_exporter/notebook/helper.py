"""The second process: reads and remembers a source, and draws whenever the kernel asks.

Its first line of input says which source; its first line of output where it listens, or why it cannot. Then each
connection is one question and one answer in JSON, so that an interrupted kernel leaves nothing half said. It ends with
the kernel: when its input ends, or when it has another parent.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener
from typing import TYPE_CHECKING, Any

import click

from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import ENGLISH, translated
from yoloscope_exporter.notebook.drawing import NoSuchRunError, drawing
from yoloscope_exporter.notebook.sources import Source, Where, opened, words

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from yoloscope_exporter.notebook.panels import Known

_log = logging.getLogger(__name__)

#: Between two looks at an exporter.
SECONDS = 2.0
#: What a kernel may take to ask once it has connected.
PATIENCE_SECONDS = 10.0


def main() -> None:
    """The process."""
    asked = json.loads(sys.stdin.readline())
    parent = os.getppid()
    if hasattr(os, "nice"):
        os.nice(10)  # the training comes first
    try:
        with opened(Where(*asked["where"])) as source, _listener(asked["key"]) as listener:
            source.poll()
            _say({"address": listener.address})
            threading.Thread(target=_serve, args=(listener, source), daemon=True).start()
            over = threading.Event()
            threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
            while not over.wait(SECONDS) and os.getppid() == parent:
                source.poll()
    except (click.ClickException, OSError) as error:
        _say({"error": translated(words(error), asked["language"])})


def _listener(key: str) -> Listener:
    """A socket in a directory of this user; who connects must know the key."""
    return Listener(backlog=8, authkey=bytes.fromhex(key))


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _wait_for_the_end(over: threading.Event) -> None:
    while sys.stdin.read(1):
        pass
    over.set()


def _serve(listener: Listener, source: Source) -> None:
    known: Known = {}
    while True:
        with suppress(OSError, EOFError, AuthenticationError), listener.accept() as connection:
            _answer(connection, source, known)


def _answer(connection: Connection, source: Source, known: Known) -> None:
    if not connection.poll(PATIENCE_SECONDS):
        return
    content: dict[str, Any]
    language = ENGLISH
    try:
        asked = json.loads(connection.recv_bytes())
        language = asked["language"]
        with source.seen() as seen:
            content = drawing(seen, asked["run"], language, known, grows=source.grows)
    except NoSuchRunError as error:
        content = {"error": translated(words(error), language), "kind": "argument"}
    except (SourceError, OSError, ValueError) as error:
        content = {"error": translated(words(error), language)}
    except Exception as error:  # noqa: BLE001 - the isolation boundary
        _log.exception("cannot draw")
        content = {"error": f"cannot draw: {error!r}"}
    connection.send_bytes(json.dumps(content, allow_nan=False).encode())


if __name__ == "__main__":
    main()
