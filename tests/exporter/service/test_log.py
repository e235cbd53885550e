"""The two formats of the log."""

from __future__ import annotations

import json
import logging
import sys

from yoloscope_exporter.service.log import Json, Logfmt


def record(message: str, **fields: object) -> logging.LogRecord:
    """A log record as a logger makes it."""
    made = logging.LogRecord("yoloscope_exporter.x", logging.WARNING, "x.py", 1, message, (), None)
    made.fields = fields
    return made


def test_logfmt_quotes_what_needs_it() -> None:
    """Values with blanks, quotes or line ends are quoted, others stand bare, one line each."""
    line = Logfmt().format(record('say "hi"\nthere', url="http://a", empty="", name="训练"))
    assert line.startswith("ts=")
    assert line.endswith(r'level=warning msg="say \"hi\"\nthere" url=http://a empty="" name=训练')


def test_json_is_one_object() -> None:
    """The fields stand beside the message; a traceback is a field."""
    made = record("bad", url="http://a")
    try:
        int("x")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = Json().format(made)
    content = json.loads(line)
    assert "\n" not in line
    assert (content["level"], content["msg"], content["url"]) == ("warning", "bad", "http://a")
    assert "ValueError: invalid" in content["trace"]
