"""What the live page shows of a Prometheus: runs of all nodes, at any time, by the measures that everything says.

The documents are those of one node (`web.documents`): a view of samples, here of what Prometheus says of a moment, and
measures, here in PromQL. Everything here asks Prometheus and waits for it, so it is called in a thread.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict, worst_first
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.fetching import masked, prometheus
from yoloscope_exporter.fetching.prometheus import quoted
from yoloscope_exporter.history.courses import OF_GPUS, OF_RUN
from yoloscope_exporter.history.curves import rounded
from yoloscope_exporter.history.events import STATES, Event, changes, facts
from yoloscope_exporter.measures.promql import Scope, render
from yoloscope_exporter.measures.series import LabelSet
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import documents, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.fetching.prometheus import Series
    from yoloscope_exporter.history.courses import Course
    from yoloscope_exporter.history.events import Facts
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.promql import Expr

#: A Prometheus that takes longer to begin an answer is not waited for, in seconds: somebody looks at the page.
TIMEOUT: Final = 10.0
#: Points of a chart at most, and the least distance of two in seconds: that is how often one scrapes.
POINTS, LEAST_STEP = 240, 15
#: What is shown of a moment is calculated over so many seconds at least: several scrapes.
LEAST_WINDOW: Final = 120
#: Time ranges that may be asked for, in seconds.
SHORTEST, LONGEST = 300.0, 92 * 86400.0
#: GPUs are shown of so many nodes of a run.
MOST_NODES: Final = 32

_VERDICTS: Final = (catalog.TRAIN_VERDICT, catalog.PREDICT_VERDICT)
_FIXES: Final = (catalog.TRAIN_VERDICT_FIX_INFO, catalog.PREDICT_VERDICT_FIX_INFO)
_STARTS: Final = tuple(m for m in catalog.METRICS if m.name.endswith("_start_timestamp_seconds"))
_UPS: Final = tuple(m for m in catalog.METRICS if m.labels == ("run", "rank") and m.name.endswith("_up"))
#: What the list of runs says; the first only where they are 1.
_ON: Final = (*STATES, *_VERDICTS)
_LISTED: Final = (*_UPS, *_STARTS, catalog.TRAIN_EPOCH, catalog.TRAIN_EPOCHS, catalog.TRAIN_REMAINING_SECONDS)
#: What the documents say of a run, and of GPUs.
_SHOWN: Final = tuple(metric for metric in catalog.METRICS if metric.name in documents.SHOWN)
_OF_RUN: Final = (
    *(metric for metric in _SHOWN if "run" in metric.labels),
    *_VERDICTS,
    *_FIXES,
    catalog.TRAIN_VERDICT_CAUSE_INFO,
)
_OF_GPU: Final = tuple(metric for metric in _SHOWN if metric.labels[:1] == ("gpu",))
#: That of which the changes are events.
_HAPPENS: Final = (*STATES, *_VERDICTS, catalog.TRAIN_EPOCH, catalog.TRAIN_WORKER_DEATHS_TOTAL)


class Span(NamedTuple):
    """A time range, Unix seconds; points lie on multiples of `step`."""

    start: float
    end: float
    step: int

    @property
    def window(self) -> int:
        """Seconds over which a point is calculated: no less than to the one before."""
        return max(LEAST_WINDOW, self.step)

    def times(self) -> list[float]:
        """Its points."""
        return [self.start + self.step * place for place in range(round((self.end - self.start) / self.step) + 1)]


def span(seconds: float, end: float) -> Span:
    """So many seconds up to `end`, of which it leaves out less than a step."""
    step = LEAST_STEP * max(ceil(seconds / POINTS / LEAST_STEP), 1)
    last = end // step * step
    return Span(last - seconds // step * step, last, step)


@dataclass(frozen=True, slots=True)
class Only(Scope):
    """Series of a cluster's run, and of its nodes where a metric knows no run; by labels as they are."""

    cluster: str = ""
    name: str = ""
    """The run's."""
    instances: tuple[str, ...] = ()

    def __call__(self, metric: Metric, part: str = "", **labels: str) -> Expr:
        """Select `metric`, as `Scope`."""
        bare = Scope.__call__(self, metric, part, **labels)
        name, _, matchers = bare.text.removesuffix("}").partition("{")
        return replace(bare, text=f"{name}{{{', '.join([*filter(None, [matchers]), *self.own(metric)])}}}")

    def own(self, *metrics: Metric) -> list[str]:
        """The matchers of the run, or of its nodes."""
        if all("run" in metric.labels for metric in metrics):
            return [f"cluster={quoted(self.cluster)}", f"run={quoted(self.name)}"]
        among = quoted("|".join(map(re.escape, self.instances)))
        return [f"cluster={quoted(self.cluster)}", f"instance=~{among}"]

    def all_of(self, metrics: Sequence[Metric]) -> str:
        """Select several metrics at once."""
        return f"{{{', '.join([_named(metrics), *self.own(*metrics)])}}}"


def _named(metrics: Iterable[Metric]) -> str:
    return f'__name__=~"{"|".join(sorted(metric.name for metric in metrics))}"'


#: Of all there is.
EVERYTHING: Final = Scope(())


class Listing(NamedTuple):
    """All runs at a moment: their document, and whose each name is."""

    document: dict[str, Any]
    whose: Mapping[str, Only]


class Fleet:
    """A Prometheus, and what it is asked. Every method may raise SourceError."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet."""
        self._url = url
        self.name = masked(url)
        """Without a password."""

    def _instant(self, query: str, at: float) -> list[Series]:
        return prometheus.instant(self._url, query, at, TIMEOUT)

    # --- all runs --------------------------------------------------------------------------------------------------

    def listing(self, at: float, language: str) -> Listing:
        """Every run that Prometheus has at a moment."""
        labels = ", ".join(dict.fromkeys(("__name__", "cluster", *_labels(_ON), *_labels(_LISTED))))
        on = self._instant(f"max by ({labels}) ({{{_named(_ON)}}} == 1)", at)
        listed = self._instant(f"max by ({labels}) ({{{_named(_LISTED)}}})", at)
        whose = _told([*on, *listed])
        names = {(only.cluster, only.name): told for told, only in whose.items()}
        samples = list(_samples([*on, *listed], lambda of: {"run": names[_who(of)]} if "run" in of else {}))
        view = documents.View(Snapshot(at, {"": tuple(samples)}), _diagnoses(samples, language))
        speeds = _Now(self, at, EVERYTHING, ("cluster", "run"), lambda of: {"run": names.get(_who(of), "")})
        return Listing(documents.runs(view, cast("History", speeds), language, len(view.ranks)), whose)

    # --- one run and its GPUs --------------------------------------------------------------------------------------

    def run(
        self, told: str, only: Only, at: float, language: str
    ) -> tuple[dict[str, Any] | None, dict[str, Any], Only]:
        """The documents of a run and of its nodes' GPUs, and the run with its nodes."""
        found = self._instant(only.all_of(_OF_RUN), at)
        nodes = sorted({series["metric"].get("instance", "") for series in found})
        only = replace(only, instances=tuple(nodes[:MOST_NODES]))
        found += self._instant(only.all_of(_OF_GPU), at)
        gpu = _gpus_of(only)
        samples = list(_samples(found, lambda of: {"run": told} | ({"gpu": gpu(of)} if "gpu" in of else {})))
        view = documents.View(Snapshot(at, {"": tuple(samples)}), _diagnoses(samples, language))
        ranks = cast("History", _Now(self, at, only, (), lambda of: {**of, "run": told}))
        tiles = cast("History", _Now(self, at, only, ("gpu", "instance"), lambda of: {"gpu": gpu(of)}))
        node = {"gpus": documents.gpus(view, tiles, language), "verdicts": []}
        return documents.run(view, ranks, told, language), node, only

    # --- over time -------------------------------------------------------------------------------------------------

    def history(self, only: Only, over: Span) -> dict[str, Any]:
        """The courses of a run."""
        return self._curves(OF_RUN, only, over, (), _labels_of_line)

    def gpu_history(self, only: Only, over: Span) -> dict[str, Any]:
        """The courses of the GPUs on its nodes."""
        gpu = _gpus_of(only)
        return self._curves(OF_GPUS, only, over, ("gpu", "instance"), lambda of: {"gpu": gpu(of)})

    def _curves(
        self, courses: Sequence[Course], only: Only, over: Span, by: Sequence[str], line: Callable[[_Labels], _Labels]
    ) -> dict[str, Any]:
        times = over.times()
        place = {round(time): number for number, time in enumerate(times)}
        series = []
        for course in courses:
            query = render(course.formula, only, *(by or course.by), window=f"{over.window}s").text
            for found in prometheus.course(self._url, query, *over, TIMEOUT):
                values: list[float | None] = [None] * len(times)
                for time, value in found["values"]:
                    if isfinite(number := float(value)) and round(time) in place:
                        values[place[round(time)]] = rounded(number)
                series.append({"name": course.name, "labels": line(found["metric"]), "values": values})
        return {"times": times, "series": series}

    def events(self, told: str, only: Only, over: Span, language: str) -> list[dict[str, Any]]:
        """What changed from one point to the next."""
        labels = ", ".join(dict.fromkeys(("__name__", *_labels(_HAPPENS))))
        query = f"max by ({labels}) ({only.all_of(_HAPPENS)})"
        moments: dict[float, list[Sample]] = defaultdict(list)
        for found in prometheus.course(self._url, query, *over, TIMEOUT):
            for sample in _samples([found], lambda _: {"run": told}):
                for time, value in found["values"]:
                    moments[time].append(sample._replace(value=float(value)))
        return documents.events(_happened(moments), language)


def _happened(moments: Mapping[float, Sequence[Sample]]) -> Iterator[Event]:
    before: Facts | None = None
    number = 0
    for time in sorted(moments):
        after = facts(moments[time], before)
        for change in changes(before, after) if before is not None else ():
            number += 1
            yield Event(number, time, *change)
        before = after


class _Now:
    """Measures at a moment, as `History.now` gives them to the documents."""

    def __init__(
        self, fleet: Fleet, at: float, scope: Scope, by: Sequence[str], relabelled: Callable[[_Labels], _Labels]
    ) -> None:
        """Of `scope`, by the labels `by`, each course's own where there are none."""
        self._fleet, self._at, self._scope, self._by, self._relabelled = fleet, at, scope, by, relabelled

    def now(self, courses: Iterable[Course], run: str = "", seconds: float = 0.0) -> dict[str, Vector]:  # noqa: ARG002
        """Values by course and labels."""
        return {course.name: vector for course in courses if (vector := self._vector(course))}

    def _vector(self, course: Course) -> Vector:
        query = render(course.formula, self._scope, *(self._by or course.by), window=f"{LEAST_WINDOW}s").text
        found = self._fleet._instant(query, self._at)  # noqa: SLF001 - of this module
        return {LabelSet(self._relabelled(one["metric"]).items()): float(one["value"][1]) for one in found}


# --- labels -----------------------------------------------------------------------------------------------------------

_Labels = dict[str, str]


def _labels(metrics: Iterable[Metric]) -> list[str]:
    return [label for metric in metrics for label in metric.labels]


def _who(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("cluster", ""), labels.get("run", "")


def _told(found: Iterable[Series]) -> dict[str, Only]:
    """Runs by the names that are shown: with the cluster where several have one of that name."""
    clusters: dict[str, set[str]] = defaultdict(set)
    for series in found:
        cluster, run = _who(series["metric"])
        clusters[run].add(cluster)
    return {
        f"{run} ({cluster})" if len(those) > 1 else run: Only((), cluster=cluster, name=run)
        for run, those in clusters.items()
        for cluster in those
    }


def _gpus_of(only: Only) -> Callable[[Mapping[str, str]], str]:
    """The name of a GPU: its index, with its node where there are several."""
    many = len(only.instances) > 1
    return lambda of: f"{of['gpu']} · {of.get('instance', '')}" if many else of["gpu"]


def _labels_of_line(labels: _Labels) -> _Labels:
    return {name: value for name, value in sorted(labels.items()) if name != "run"}


def _samples(found: Iterable[Series], relabelled: Callable[[_Labels], _Labels]) -> Iterator[Sample]:
    """Series as samples of the catalogue; of what it does not know none."""
    for series in found:
        labels = series["metric"]
        if metric := catalog.BY_NAME.get(labels.get("__name__", "")):
            labels = labels | relabelled(labels)
            value = float(series["value"][1]) if "value" in series else 0.0
            yield Sample(metric, tuple(labels.get(label, "") for label in metric.labels), value)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _diagnoses(samples: Iterable[Sample], language: str) -> list[Diagnosis]:
    """The verdicts that hold, by rank: what is known of them without their signals."""
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    told: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for metric, labels, value in samples:
        if metric in _VERDICTS and value and labels[2] in rules.BY_NAME:
            held[labels[:2]].append(labels[2])
        elif metric in (*_FIXES, catalog.TRAIN_VERDICT_CAUSE_INFO):
            told[labels[:3]] |= dict(zip(metric.labels[3:], labels[3:], strict=True))
    return [
        Diagnosis(
            run, rank, "", worst_first([_verdict(name, told[run, rank, name], language) for name in names]), {},
            Signals(run, rank),
        )
        for (run, rank), names in held.items()
    ]  # fmt: skip


def _verdict(name: str, told: Mapping[str, str], language: str) -> Verdict:
    rule, suffix = rules.BY_NAME[name], "_zh" if language == texts.CHINESE else ""
    cause = told.get(f"cause{suffix}", "")
    return Verdict(
        name, rule.severity, told.get("evidence", ""), cause, rule.verify, told.get(f"fix{suffix}", ""), None
    )
