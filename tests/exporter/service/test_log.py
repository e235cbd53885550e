"""The two formats of the log."""

from __future__ import annotations

import json
import logging
import sys

from yoloscope_exporter.service.log import LIMIT_LINES, LIMIT_SECONDS, Json, Limit, Logfmt


def record(message: str, **fields: object) -> logging.LogRecord:
    """A log record as a logger makes it."""
    made = logging.LogRecord("yoloscope_exporter.x", logging.WARNING, "x.py", 1, message, (), None)
    made.fields = fields
    return made


def test_logfmt_quotes_what_needs_it() -> None:
    """Values with blanks, quotes or what steers a terminal are quoted, others stand bare, one line each."""
    line = Logfmt().format(record('say "hi"\nthere', url="http://a", empty="", name="训练", odd="a\rb"))
    assert line.startswith("ts=")
    assert line.endswith(r'level=warning msg="say \"hi\"\nthere" url=http://a empty="" name=训练 odd="a\rb"')


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


def passed(limit: Limit, message: str, *arguments: object, line: int = 1) -> str:
    """The message if it passes, else nothing."""
    made = logging.LogRecord("yoloscope_exporter.x", logging.WARNING, "x.py", line, message, arguments, None)
    return made.getMessage() if limit.filter(made) else ""


def test_a_line_has_a_limited_length() -> None:
    """What is logged may come from somebody else's file."""
    assert passed(Limit(), "bad: %s", "x" * 100_000) == f"bad: {'x' * 295}…"
    assert passed(Limit(), "bad: %s", "x" * 295) == f"bad: {'x' * 295}"


def test_lines_of_a_kind_are_limited_in_number() -> None:
    """The next one that passes says how many did not; other kinds go on."""
    now = [0.0]
    limit = Limit(lambda: now[0])
    lines = [passed(limit, "refused %s", number) for number in range(1000)]
    assert sum(bool(line) for line in lines) == LIMIT_LINES
    assert passed(limit, "something else", line=2) == "something else"
    now[0] = LIMIT_SECONDS
    assert passed(limit, "refused %s", 1) == f"refused 1 (and {1000 - LIMIT_LINES} more like it, left out)"
    assert passed(limit, "refused %s", 2) == "refused 2"
