"""Variants are answered as it was written down before: verdicts by rank, evidence, advice, and what is told nowhere.

The live diagnosis is asked the same, sample by sample: who reads the page gets no other answer than who asks for the
range afterwards.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis, diagnose_range
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.terminal.diagnosis import to_text

from tests.recordings import model
from tests.recordings.cases import played
from tests.recordings.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict

pytestmark = pytest.mark.slow
NODE = "node"
#: Seconds between samples up to which an exporter samples itself; a Prometheus does more rarely.
WATCHED = 5.0
#: Those that were answered wrongly at first; `make long` has the others, too.
ONCE_WRONG = {
    "a_long_warm_up_swings",
    "callback_per_epoch_of_a_resumed_run",
    "capped_by_few_batches",
    "epochs_of_three_batches",
    "failed_in_set_up",
    "hang_in_the_first_epoch",
    "killed_in_set_up",
    "killed_in_the_first_epoch",
    "ranks_that_scale_their_images",
    "two_nodes_starve_30s",
}
#: Those of which a running exporter said another thing than the range.
ONCE_CONTRADICTED = {
    "clock_set_while_it_starves",
    "device_leak_of_a_resumed_run",
    "killed_in_set_up",
    "one_batch_of_25_s_without_an_oom",
    "one_wait_of_200_s",
    "short_and_healthy",
    "short_and_starved",
    "starved_beside_a_notebook",
}


def _others(names: Iterable[str], without: Collection[str]) -> list[object]:
    """Parameters of tests that take long together."""
    return [pytest.param(name, marks=pytest.mark.long) for name in names if name not in without]


def _watched_too() -> list[str]:
    """Those that an exporter may have seen itself."""
    return [name for name, one in VARIANTS.items() if not one.nodes and one.every <= WATCHED]


def stores(variant: Variant) -> list[Store]:
    """What was seen of it, by node."""
    if variant.nodes:
        return model.play_nodes(variant.plan, variant.every)
    store = Store()
    for time, samples in played(variant):
        store.add(time, samples)
    return [store]


@cache
def diagnosed(name: str) -> RangeDiagnosis:
    """The diagnosis of a variant; several tests ask for it."""
    return diagnose_range(stores(VARIANTS[name]))


def findings(verdicts: Iterable[Verdict], variant: Variant) -> tuple[str, ...]:
    """Verdicts worse than ok in the order they are told, without those that may be told or not."""
    return tuple(v.name for v in verdicts if v.severity != rules.OK and v.name not in variant.allowed)


def right(variant: Variant, one: Diagnosis) -> tuple[str, ...]:
    """What is to be told of a rank, or of the node."""
    keys = (f"{one.run} {one.rank}", one.rank if one.run else NODE)
    return next((variant.ranks[key] for key in keys if key in variant.ranks), variant.told if one.run else ())


@pytest.mark.parametrize("name", [*sorted(ONCE_WRONG), *_others(VARIANTS, ONCE_WRONG)])
def test_verdicts_of_each_rank(name: str) -> None:
    """No more, no less, the worst first; healthy ranks are called healthy."""
    variant, course = VARIANTS[name], diagnosed(name)
    told = {(one.run, one.rank): findings(one.verdicts, variant) for one in course.diagnoses}
    story = [variant.why, *(f"{one.rank} {v.name}: {v.evidence}" for one in course.diagnoses for v in one.verdicts)]
    assert told == {(one.run, one.rank): right(variant, one) for one in course.diagnoses}, "\n".join(story)
    seen = {name for one in course.diagnoses for name in right(variant, one)}
    assert seen == {*variant.told, *(name for names in variant.ranks.values() for name in names)}
    if not variant.silent and not seen:
        assert all(v.name in rules.HEALTHY or v.name in variant.allowed for d in course.diagnoses for v in d.verdicts)
        assert all(one.verdicts for one in course.diagnoses), "nothing is said"
    for part in variant.notes:
        assert any(part in note for note in course.notes), course.notes


@pytest.mark.parametrize("name", [*sorted(ONCE_WRONG), *_others(VARIANTS, ONCE_WRONG)])
def test_what_is_said_about_them(name: str) -> None:
    """Evidence, cause, advice and what came after; and what must be said nowhere."""
    variant, course = VARIANTS[name], diagnosed(name)
    of = {v.name: v for one in reversed(course.diagnoses) for v in one.verdicts}
    for verdict, pattern in variant.evidence.items():
        assert re.search(pattern, f"{of[verdict].evidence}. {of[verdict].cause}"), of[verdict]
    for verdict, pattern in variant.fix.items():
        assert re.search(pattern, of[verdict].fix), of[verdict].fix
    for verdict, arguments in variant.arguments.items():
        assert of[verdict].advice.arguments == arguments, of[verdict].fix
    for verdict, pattern in variant.after.items():
        assert re.search(pattern, of[verdict].after), of[verdict]
    said = to_text(course.diagnoses, course.notes, verbose=True)
    found = re.search(variant.never, said, re.MULTILINE) if variant.never else None
    assert found is None, f"{variant.never!r} in:\n{said}"


def watched(variant: Variant) -> list[Diagnosis]:
    """What a running exporter says in the end of the same samples."""
    live = Live()
    for time, samples in played(variant):
        live.feed(time, samples)
    return list(live.diagnoses)


@pytest.mark.parametrize("name", [*sorted(ONCE_CONTRADICTED), *_others(_watched_too(), ONCE_CONTRADICTED)])
def test_a_running_exporter_says_the_same(name: str) -> None:
    """Of the whole run, when it has ended or at the last moment seen."""
    variant, afterwards = VARIANTS[name], diagnosed(name).diagnoses
    live = {(one.run, one.rank): findings(one.whole_run, variant) for one in watched(variant)}
    assert live == {(one.run, one.rank): findings(one.verdicts, variant) for one in afterwards}
