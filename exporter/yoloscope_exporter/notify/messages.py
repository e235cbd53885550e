"""Messages to people, in English or Chinese: what they say, and how they fit into a service's limit. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.language import CHINESE, ENGLISH, LANGUAGES, say, speaking, spoken, text
from yoloscope_exporter.notify.alerts import FIRING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.notify.alerts import Alert, Group

#: Alerts that one message lists; more are counted. As the e-mail template of deploy/alertmanager does.
MOST_SECTIONS = 10
#: The kinds of Apprise, by which services choose colours.
GOOD, NOTE, WARNING, FAILURE = "success", "info", "warning", "failure"
_KINDS = {"critical": FAILURE, "warning": WARNING}

_STATES = {"firing": text("FIRING"), "resolved": text("RESOLVED")}
#: Annotations that are told by name, and links.
_NAMES = {"owner": text("Owner"), "verdict": text("Verdict"), "fix": text("Fix")}
_LINKS = {"dashboard": text("Dashboard"), "runbook": text("Runbook")}


@dataclass(frozen=True)
class Section:
    """One alert of a message.

    Attributes:
        heading: what and where, in one line; empty where the title of the message says it.
        lines: the rest, the most important last; what does not fit is left out from the beginning.
        links: names and addresses.
    """

    heading: str
    lines: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Message:
    """A message before it is fitted into a service's limit; `time` is when it was made, in Unix seconds."""

    title: str
    sections: tuple[Section, ...]
    kind: str
    time: float
    language: str = ENGLISH
    omitted: int = 0
    """Alerts or runs that are not among the sections."""


def to_json(message: Message) -> dict[str, Any]:
    """For the queue on disk."""
    sections = [[one.heading, list(one.lines), [list(link) for link in one.links]] for one in message.sections]
    return {**vars(message), "sections": sections}


def from_json(document: Mapping[str, Any]) -> Message:
    """Back from the queue.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    sections = tuple(
        Section(str(heading), tuple(map(str, lines)), tuple((str(name), str(url)) for name, url in links))
        for heading, lines, links in document["sections"]
    )
    if document["language"] not in LANGUAGES:
        raise ValueError(f"there are no words in {document['language']!r}")
    return Message(**{**document, "sections": sections, "time": float(document["time"])})


# --- what is said ---------------------------------------------------------------------------------------------------


def of_group(group: Group, language: str, now: float) -> Message:
    """A group of alerts, those that fire first, the most severe first."""
    order = sorted(group.alerts, key=lambda one: (one.status != FIRING, -_rank(one)))
    firing = [one for one in order if one.status == FIRING]
    count = f" {len(firing)}" if len(firing) > 1 else ""
    kind = _KINDS.get(firing[0].labels.get("severity", ""), NOTE) if firing else GOOD
    with speaking(language):
        title = f"[{_state(order[0])}{count}] {_summary(order[0])}"
        sections = [_section(one) for one in order[:MOST_SECTIONS]]
    omitted = len(order) - len(sections) + max(group.truncated, 0)
    if len(sections) == 1:  # the title says it
        sections = [replace(sections[0], heading="")]
    return Message(one_line(title), tuple(sections), kind, now, language, omitted)


def test_message(language: str, now: float) -> Message:
    """What `--check` sends."""
    with speaking(language):
        section = Section(say("Alerts of yoloscope arrive here."))
        return Message(say("yoloscope: test message"), (section,), NOTE, now, language)


def _rank(alert: Alert) -> int:
    return {"critical": 2, "warning": 1}.get(alert.labels.get("severity", ""), 0)


def _state(alert: Alert) -> str:
    """The severity of what fires, where there is one."""
    severity = alert.labels.get("severity", "")
    return severity if alert.status == FIRING and severity else say(_STATES[alert.status])


def _section(alert: Alert) -> Section:
    heading = one_line(f"[{_state(alert)}] {_summary(alert)}")
    if alert.status != FIRING:
        return Section(heading, (), _links(alert))
    named = ((name, _annotation(alert, key)) for key, name in _NAMES.items())
    lines = [_annotation(alert, "description"), *(_named(say(name), told) for name, told in named if told)]
    return Section(heading, tuple(filter(None, lines)), _links(alert))


def _named(name: str, told: str) -> str:
    return say("{name}: {text}", name=name, text=told)


def _summary(alert: Alert) -> str:
    """The summary; for an alert of somebody else that has none, its name and labels."""
    known = _annotation(alert, "summary")
    if known:
        return known
    where = ", ".join(
        f"{name}={value}" for name, value in alert.labels.items() if name not in {"alertname", "severity"}
    )
    return f"{alert.labels.get('alertname', 'alert')} ({where})" if where else alert.labels.get("alertname", "alert")


def _annotation(alert: Alert, name: str) -> str:
    """In the language, or in English."""
    chosen = alert.annotations.get(f"{name}_zh", "") if spoken() == CHINESE else ""
    return _clean(chosen or alert.annotations.get(name, ""))


def _links(alert: Alert) -> tuple[tuple[str, str], ...]:
    urls = {name: alert.annotations.get(f"{name}_url", "").replace(" ", "%20") for name in _LINKS}
    if spoken() == CHINESE:
        urls["runbook"] = urls["runbook"].replace("/alerts.md#", "/alerts.zh-CN.md#")
        urls["dashboard"] = re.sub(r"/d/yoloscope-[\w-]+", r"\g<0>-zh", urls["dashboard"])  # its twin
    return tuple((say(_LINKS[name]), url) for name, url in urls.items() if url.startswith(("http://", "https://")))


def _clean(text: str) -> str:
    """Without control characters, and without what services take for a tag or a link: names of runs are anybody's."""
    printable = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
    return re.sub(r"\](?=\()", "\uff3d", re.sub(r"<(?=[A-Za-z/!@#])", "\uff1c", printable)).strip()


def one_line(text: str) -> str:
    """Text of somebody else as one line without markup."""
    return " ".join(_clean(text).split())


# --- how it fits ----------------------------------------------------------------------------------------------------


def fitted(message: Message, limit: int, now: float, *, markdown: bool) -> str:
    """The body in at most `limit` bytes of UTF-8: sections in full, then by their headings, then counted.

    Links are `[name](address)` in Markdown, `name: address` in plain text.
    """
    with speaking(message.language):
        return _fitted(message, limit, round((now - message.time) / 60), markdown=markdown)


def _fitted(message: Message, limit: int, minutes: int, *, markdown: bool) -> str:
    late = say("Delayed by {minutes} min: the service did not answer.", minutes=minutes)
    note = late if minutes >= 2 else ""  # noqa: PLR2004 - a retry or two is no delay
    room = limit - _size(f"\n\n{_more(10**4)}\n\n{note}")
    parts: list[str] = []
    for section in message.sections:
        left = room - _size("\n\n".join([*parts, ""]))
        shown = _shortened(section, left, markdown=markdown)
        if not shown:
            break
        parts.append(shown)
    omitted = message.omitted + len(message.sections) - len(parts)
    parts += [_more(omitted)] if omitted and parts else []
    parts += [note] if note and parts else []
    if not parts:  # a service for a few words
        return cut(message.title, limit)
    return "\n\n".join(parts)


def _more(number: int) -> str:
    return say("... and {number} more", number=number)


def _shortened(section: Section, room: int, *, markdown: bool) -> str:
    """As much of the section as fits into `room` bytes, its heading at least; empty if not even that does."""
    heading = f"**{section.heading}**" if markdown and section.heading else section.heading
    links = [f"[{name}]({url})" if markdown else _named(name, url) for name, url in section.links]
    foot = [(" · " if markdown else "\n").join(links)] if links else []
    space = "\n\n" if markdown else "\n"
    for first in range(len(section.lines) + 1):
        shown = space.join(filter(None, [heading, *section.lines[first:], *foot]))
        if shown and _size(shown) <= room:
            return shown
    return heading if _size(heading) <= room else ""


def headed(message: Message) -> Message:
    """The same for a service that does not show the whole title: a single section has it as its heading."""
    first = message.sections[:1]
    if not first or first[0].heading:
        return message
    return replace(message, sections=(replace(first[0], heading=message.title), *message.sections[1:]))


def cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, with an ellipsis where something is missing."""
    if _size(text) <= limit:
        return text
    return text.encode()[: max(limit - 3, 0)].decode(errors="ignore").rstrip() + "…"


def _size(text: str) -> int:
    return len(text.encode())
