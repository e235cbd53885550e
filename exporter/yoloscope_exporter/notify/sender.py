"""Sends what waits: a thread for each service, so that one that is away holds up no other."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from yoloscope_exporter.notify.services import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yoloscope_exporter.notify.queue import Queue
    from yoloscope_exporter.notify.services import Service

#: Seconds before the second attempt; they double with each one up to the most.
FIRST_PAUSE, MOST_PAUSE = 1.0, 300.0
#: Seconds between two looks at the folder: `yoloscope run --notify` may have left a message there.
LOOK_SECONDS = 5.0
#: Age in seconds at which a message is given up: what a service refuses for a day it will not take.
KEEP_SECONDS = 86400.0

_log = logging.getLogger(__name__)


def pause_after(failures: int) -> float:
    """Seconds until the next attempt: doubling, and spread over a quarter so that senders do not come together."""
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 30), MOST_PAUSE) * random.uniform(0.75, 1.0)  # noqa: S311


class Sender:
    """Sends the messages of one service in their order, each until it is taken or too old."""

    def __init__(self, service: Service, queue: Queue, keep: float = KEEP_SECONDS) -> None:
        """Sends nothing before `start` or `attempt`."""
        self.service = service
        self._queue = queue
        self._keep = keep
        self._failures = 0
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"notify {service}", daemon=True)

    def start(self) -> None:
        """Send in the background until `close`."""
        self._thread.start()

    def wake(self) -> None:
        """Look for new messages now; one that failed keeps its pause."""
        if not self._failures:
            self._wake.set()

    def close(self) -> None:
        """Finish the attempt under way; what waits stays on disk."""
        self._ended = True
        self._wake.set()
        self._thread.join(LOOK_SECONDS)

    def attempt(self) -> bool:
        """Try the oldest message; whether none is left. A failure is logged the first time."""
        waiting = self._queue.waiting(self.service.key)
        if not waiting:
            return True
        if self._done(waiting[0]):
            self._queue.remove(waiting[0])
            return len(waiting) == 1
        return False

    def _done(self, path: Path) -> bool:
        """Whether the message was sent, or need not be any more."""
        message = None
        try:
            message = self._queue.read(path)
            if message is None:
                return True
            self.service.send(message)
        except Exception as error:  # noqa: BLE001 - the isolation boundary: of disks, and of other people's plugins
            title, made = (message.title, message.time) if message else (path.name, self._queue.put_at(path))
            return self._is_given_up(title, time.time() - made, error)
        if self._failures:
            _log.info("%s takes messages again after %d attempts", self.service, self._failures)
        self._failures = 0
        return True

    def _is_given_up(self, title: str, age: float, error: Exception) -> bool:
        """Count a failure; whether the message is too old, in seconds, for another attempt."""
        self._failures += 1
        if age > self._keep:
            _log.error("%s: given up after %.0f h: %s (%s)", self.service, self._keep / 3600, title, error)
            self._failures = 0
            return True
        if self._failures == 1:
            strange = not isinstance(error, DeliveryError | OSError)
            _log.warning("%s: %s; trying again", self.service, error, exc_info=strange)
        return False

    @property
    def pause(self) -> float:
        """Seconds until the next attempt after a failure; 0 after none."""
        return pause_after(self._failures) if self._failures else 0.0

    def _run(self) -> None:
        while not self._ended:
            try:
                with self._queue.held(self.service.key) as alone:
                    while alone and not self._ended:
                        self._rest(LOOK_SECONDS if self.attempt() else self.pause)
            except Exception:  # noqa: BLE001 - the isolation boundary: there are more messages and attempts
                _log.exception("%s", self.service)
            self._rest(LOOK_SECONDS)  # or another process sends them

    def _rest(self, seconds: float) -> None:
        self._wake.wait(seconds)
        if not self._ended:
            self._wake.clear()


def send_now(services: Sequence[Service], queue: Queue, seconds: float) -> list[Service]:
    """Send what waits for `services` for at most `seconds`; those for which something still waits."""
    deadline = time.monotonic() + seconds
    return [service for service in services if not _emptied(Sender(service, queue), queue, deadline)]


def _emptied(sender: Sender, queue: Queue, deadline: float) -> bool:
    with queue.held(sender.service.key) as alone:
        if not alone:
            return True  # whoever sends for this service will send this message, too
        while not sender.attempt():
            if time.monotonic() + sender.pause > deadline:
                return False
            time.sleep(sender.pause)
    return True
