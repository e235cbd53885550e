"""The log on stderr, as logfmt or as JSON: one line per event."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone


def configure(level: str, form: str) -> None:
    """Send the log of this package, and of the hooks' parts that it uses, to stderr. May be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Logfmt())
    for name in ("yoloscope_exporter", "yoloscope"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


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
    plain = value and not any(character in ' "=\n' for character in value)
    return value if plain else json.dumps(value, ensure_ascii=False)
