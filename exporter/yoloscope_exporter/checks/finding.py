"""One line of what `yoloscope check` finds."""

from __future__ import annotations

from typing import NamedTuple

from yoloscope_exporter.language import text

#: Works; is to be known and needs nothing; costs something or soon will; does not work.
OK, NOTE, WARN, FAIL = text("ok"), text("note"), text("warn"), text("FAIL")


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it.

    Attributes:
        severity: one of OK, NOTE, WARN, FAIL.
        subject: in one or two words.
        told: what was found.
        fix: what to type or change; empty where nothing has to be.
    """

    severity: str
    subject: str
    told: str
    fix: str = ""
