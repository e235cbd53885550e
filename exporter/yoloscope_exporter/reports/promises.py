"""What was promised to one run and what it delivered in another: a section of a comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.follow_up import FollowUp, follow_ups, heeding
from yoloscope_exporter.language import joined, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.diagnosis.follow_up import Past
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value
    from yoloscope_exporter.reports.summary import Summary


def kept(summaries: Sequence[Summary]) -> list[tuple[str, FollowUp]]:
    """The runs, each with what it followed of the advice to those before it, and what came of it."""
    pasts = _pasts(summaries)
    return [(one.run, follow) for one in pasts for follow in follow_ups(pasts, one)]


def _pasts(summaries: Sequence[Summary]) -> list[Past]:
    return [summary.past for summary in summaries if summary.past]


def changed(before: Summary, after: Summary, arguments: Mapping[str, Value]) -> FollowUp:
    """What came of arguments that nobody had advised."""
    return FollowUp(before.run, "", arguments, None, before.images_per_second, after.images_per_second)


def heeded(summaries: Sequence[Summary]) -> list[Summary]:
    """The same runs; what did not help in one of them is not advised again to it or to those like it after it."""
    pasts = _pasts(summaries)
    failed = [(one, follow) for one in pasts for follow in follow_ups(pasts, one) if follow.helped is False]

    def heeds(summary: Summary, now: Past) -> Summary:
        known = [follow for one, follow in failed if one.identity == now.identity and one.started <= now.started]
        return replace(summary, verdicts=tuple((rank, heeding(verdict, known)) for rank, verdict in summary.verdicts))

    return [heeds(summary, summary.past) if summary.past else summary for summary in summaries]


def followed(summaries: Sequence[Summary]) -> list[str]:
    """The same in words."""
    return [joined((run, str(follow)), ": ") for run, follow in kept(summaries)]


def promises(summaries: Sequence[Summary]) -> list[str]:
    """The same as Markdown; nothing where nothing was followed."""
    lines = [f"- {say(line)}" for line in followed(summaries)]
    return [f"## {say('Promised and delivered')}", "", *lines, ""] if lines else []
