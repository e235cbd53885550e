"""What was promised to one run and what it delivered in another: a section of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.follow_up import IDENTITY, Past, follow_ups
from yoloscope_exporter.diagnosis.signals.arithmetic import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def followed(summaries: Sequence[Summary]) -> list[str]:
    """What each run followed of the advice to those before it, and what came of it."""
    pasts = [past(summary) for summary in summaries]
    return [f"{one.run}: {follow}" for one in pasts for follow in follow_ups(pasts, one)]


def promises(summaries: Sequence[Summary]) -> list[str]:
    """The same as Markdown; nothing where nothing was followed."""
    lines = [f"- {line}" for line in followed(summaries)]
    return ["## Promised and delivered", "", *lines, ""] if lines else []
