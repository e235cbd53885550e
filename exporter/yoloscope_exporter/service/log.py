"""The log on stderr, as logfmt or as JSON: one line per event, of a limited length, and a limited number of each kind.

What is logged may come from other people's files: none of them may fill a disk.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LENGTH = 300  # characters of a message
LIMIT_LINES, LIMIT_SECONDS = 20, 60.0  # of one kind


def configure(level: str, form: str) -> None:
    """Send the log of this package, and of the hooks' parts that it uses, to stderr. May be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Logfmt())
    handler.addFilter(Limit())
    for name in ("yoloscope_exporter", "yoloscope"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


class Limit(logging.Filter):
    """Lets so many lines of a kind through in a while; the next one that passes says how many were left out.

    A kind is where a line was written. At DEBUG, which somebody asked for, nothing is cut.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was logged yet."""
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int], list[float]] = {}  # when the while began, lines in it, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; cuts it."""
        now, kind = self._clock(), (record.pathname, record.lineno)
        begun, lines, left_out = self._seen.get(kind, [now, 0.0, 0.0])
        if now - begun >= LIMIT_SECONDS:
            begun, lines = now, 0.0
        passes = lines < LIMIT_LINES
        self._seen[kind] = [begun, lines + 1, 0.0 if passes else left_out + 1]
        if passes:
            _shorten(record, int(left_out))
        return passes


def _shorten(record: logging.LogRecord, left_out: int) -> None:
    text = record.getMessage()
    if len(text) > MAX_LENGTH and record.levelno > logging.DEBUG:
        text = f"{text[:MAX_LENGTH]}…"
    if left_out:
        text = f"{text} (and {left_out} more like it, left out)"
    record.msg, record.args = text, None


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, object]:
    """Time, level and message first, then what the caller gave as `extra={"fields": {...}}`."""
    moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
    fields = {"ts": moment, "level": record.levelname.lower(), "msg": record.getMessage()}
    extra = getattr(record, "fields", {})
    trace = {"trace": formatter.formatException(record.exc_info)} if record.exc_info else {}
    return {**fields, **extra, **trace}


class Logfmt(logging.Formatter):
    """Writes ts=... level=... msg="..."; the fields behind."""

    def format(self, record: logging.LogRecord) -> str:
        """The log record as one line."""
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in _fields(record, self).items())


class Json(logging.Formatter):
    """Writes {"ts": ..., "level": ..., "msg": ...}, the fields inside."""

    def format(self, record: logging.LogRecord) -> str:
        """The log record as one line."""
        return json.dumps(_fields(record, self), default=str, ensure_ascii=False)


def _quoted(value: str) -> str:
    plain = value and value.isprintable() and not any(character in ' "=' for character in value)
    return value if plain else json.dumps(value, ensure_ascii=False)
