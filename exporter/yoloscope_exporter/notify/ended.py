"""The end of a command that trained, as a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.notify.messages import FAILURE, GOOD, MOST_SECTIONS, Message, Section, one_line
from yoloscope_exporter.reports import ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.reports.ending import Ended
    from yoloscope_exporter.reports.summary import Summary


def message(ended: Ended, summaries: Sequence[Summary], language: str, now: float) -> Message:
    """What is told of the command and its runs."""
    title = ending.title(ended, summaries, language)
    several = len(summaries) > 1
    sections = [_section(one, one.run if several else "", language) for one in summaries[:MOST_SECTIONS]]
    kind = GOOD if ending.went_well(ended, summaries[-1] if summaries else None) else FAILURE
    return Message(one_line(title), tuple(sections), kind, now, language, len(summaries) - len(sections))


def _section(summary: Summary, heading: str, language: str) -> Section:
    colon = ending.colon(language)
    lines = [
        f"{one.name}{colon}{one.text}" if one.name else one.text for one in ending.message_lines(summary, language)
    ]
    return Section(one_line(heading), tuple(map(one_line, lines)))
