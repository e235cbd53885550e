"""Services that messages are sent to, each an address in Apprise's notation: https://appriseit.com/services/."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from yoloscope_exporter import pip_install
from yoloscope_exporter.language import Text, joined, text
from yoloscope_exporter.notify.messages import cut, fitted, headed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apprise.plugins.base import NotifyBase

    from yoloscope_exporter.notify.messages import Message

#: Bytes of a message for services that would take more: nobody reads further.
MOST_BYTES = 12_000
#: Bytes of a title.
MOST_TITLE = 300
EXAMPLES = "dingtalk://SECRET@TOKEN, feishu://SECRET@TOKEN, wecombot://KEY, slack://A/B/C, mailto://USER:PASSWORD@HOST"


class AddressError(ValueError):
    """The address names no service."""


class DeliveryError(Exception):
    """The service did not take the message, and may later."""


class Service:
    """One address."""

    def __init__(self, url: str) -> None:
        """Parse it.

        Raises:
            AddressError: it is none, in a text without the secrets in it.
        """
        from yoloscope_exporter.notify import robots  # noqa: PLC0415 - needs Apprise

        try:
            url = robots.schemed(url.strip())
            schema = urlsplit(url).scheme
        except ValueError:
            url = schema = ""
        found = _robot(robots.ROBOTS[schema], url) if schema in robots.ROBOTS else _plugin(url)
        if found is None:
            raise AddressError(
                text(
                    "{text} is no address of a service: use {examples}",
                    text=text("{schema}://...", schema=schema) if schema else "this",
                    examples=EXAMPLES,
                )
            )
        self._plugin = found
        #: The same for the same address, and tells nothing of it.
        self.key = f"{schema}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"

    def __str__(self) -> str:
        """What people may see of it."""
        return self.key

    @property
    def markdown(self) -> bool:
        """Whether it shows Markdown, by itself or as HTML."""
        from apprise.common import NotifyFormat  # noqa: PLC0415

        known = self._plugin.notify_format
        return not {NotifyFormat.MARKDOWN, NotifyFormat.HTML}.isdisjoint(
            known if isinstance(known, tuple) else (known,)
        )

    def send(self, message: Message) -> None:
        """Send it, fitted into the service's limit.

        Raises:
            DeliveryError: it was not taken.
        """
        import apprise  # noqa: PLC0415 - an extra

        title = cut(message.title, MOST_TITLE)[: self._plugin.title_maxlen or None]
        shared = self._plugin.title_maxlen <= 0 or self._plugin.overflow_amalgamate_title
        room = min(self._plugin.body_maxlen, MOST_BYTES) - (len(title.encode()) + len("### \n\n\r\n") if shared else 0)
        if room < len(title.encode()):
            title, room = "", self._plugin.body_maxlen
        shown = message if title == message.title else headed(message)
        body = fitted(shown, room, time.time(), markdown=self.markdown)
        form = apprise.NotifyFormat.MARKDOWN if self.markdown else apprise.NotifyFormat.TEXT
        kind = apprise.NotifyType(message.kind)
        try:
            with _said() as lines:  # the plugin itself: Apprise's own queue would send from another thread
                taken = self._plugin.notify(body=body, title=title, notify_type=kind, body_format=form)
        except apprise.exception.AppriseException as error:
            raise DeliveryError(str(error)) from error
        if not taken:
            raise DeliveryError(joined(lines) if lines else text("no reason given"))


def addressed(urls: Sequence[str], option: str) -> list[Service]:
    """The services at `urls`, each once.

    Raises:
        click.UsageError: Apprise is not installed, or one is no address; `option` is where it was given.
    """
    if urls and importlib.util.find_spec("apprise") is None:
        raise click.UsageError(text("{option} needs Apprise: {command}", option=option, command=pip_install("notify")))
    try:
        return list({service.key: service for service in map(Service, urls)}.values())
    except AddressError as error:
        raise click.UsageError(text("{option}: {error}", option=option, error=error)) from error


def _robot(kind: type[NotifyBase], url: str) -> NotifyBase | None:
    from apprise.exception import AppriseException  # noqa: PLC0415

    found = kind.parse_url(url)
    try:
        return kind(**found) if found else None
    except (AppriseException, TypeError):
        return None


def _plugin(url: str) -> NotifyBase | None:
    import apprise  # noqa: PLC0415

    with _said():
        return apprise.Apprise.instantiate(url, suppress_exceptions=True)


@contextmanager
def _said() -> Iterator[list[str]]:
    """The warnings of Apprise in this thread: it answers with False, and its log says why."""
    handler = _Lines(threading.get_ident())
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def __init__(self, thread: int) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread_ident = thread

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread_ident:
            self.lines.append(record.msg if isinstance(record.msg, Text) else record.getMessage())
