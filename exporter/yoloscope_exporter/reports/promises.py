"""What was promised to one run and what it delivered in another: a section of a comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import markup
from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.follow_up import IDENTITY, FollowUp, Past, follow_ups, heeding
from yoloscope_exporter.diagnosis.signals.arithmetic import whole
from yoloscope_exporter.language import joined, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value
    from yoloscope_exporter.reports.summary import Summary


def past(summary: Summary) -> Past:
    """A run as its report shows it; the batch is that of all ranks together, as it is typed."""
    facts = summary.facts
    settings = {
        name: ultralytics.parsed(facts[name]) if name in facts else ultralytics.DEFAULTS.get(name, "")
        for name in ultralytics.EFFECTS
    }
    if "amp_asked" in facts:
        settings["amp"] = ultralytics.parsed(facts["amp_asked"])
    if batch := whole(facts.get("batch", "")):
        settings["batch"] = round(batch * (whole(facts.get("world_size", "")) or 1))
    figures = {name: summary.figures[name].value for name in ("throughput", "peak_cuda") if name in summary.figures}
    told = {verdict.name: verdict.advice for _, verdict in reversed(summary.verdicts) if verdict.advice.arguments}
    identity = {name: facts.get(name, "") for name in IDENTITY}
    speed, peak = figures.get("throughput"), figures.get("peak_cuda")
    return Past(summary.run, "", summary.start, identity, settings, speed, peak, told)


def kept(summaries: Sequence[Summary]) -> list[tuple[str, FollowUp]]:
    """The runs, each with what it followed of the advice to those before it, and what came of it."""
    pasts = [past(summary) for summary in summaries]
    return [(one.run, follow) for one in pasts for follow in follow_ups(pasts, one)]


def changed(before: Summary, after: Summary, arguments: Mapping[str, Value]) -> FollowUp:
    """What came of arguments that nobody had advised."""
    one, other = past(before).images_per_second, past(after).images_per_second
    return FollowUp(before.run, "", arguments, None, one, other)


def heeded(summaries: Sequence[Summary]) -> list[Summary]:
    """The same runs; what did not help in one of them is not advised again to it or to those like it after it."""
    pasts = [past(summary) for summary in summaries]
    failed = [(one, follow) for one in pasts for follow in follow_ups(pasts, one) if follow.helped is False]
    return [
        replace(summary, verdicts=tuple((rank, heeding(verdict, known)) for rank, verdict in summary.verdicts))
        for summary, now in zip(summaries, pasts, strict=True)
        for known in [[follow for one, follow in failed if one.identity == now.identity and one.started <= now.started]]
    ]


def followed(summaries: Sequence[Summary]) -> list[str]:
    """The same in words."""
    return [joined((run, str(follow)), ": ") for run, follow in kept(summaries)]


def promises(summaries: Sequence[Summary]) -> list[str]:
    """The same as Markdown; nothing where nothing was followed."""
    lines = [f"- {markup.words(say(line))}" for line in followed(summaries)]
    return [f"## {say('Promised and delivered')}", "", *lines, ""] if lines else []
