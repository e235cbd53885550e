"""Recordings of real trainings are small; how right an answer is. Whether theirs are: `test_corpus.py`."""

from __future__ import annotations

from tests.recordings import accuracy
from tests.recordings.real import cases


def test_recordings_are_small() -> None:
    """The whole corpus is cloned with the sources."""
    sizes = {name: cases.path(name).stat().st_size for name in cases.TRUTH}
    assert {name: size for name, size in sizes.items() if size >= 160_000} == {}


def test_score() -> None:
    """Found, missed, told wrongly, and told where it is allowed."""
    told = {"a": ["a"], "b": [], "": ["a"], "c": ["c"]}
    answers = [
        accuracy.Answer(frozenset(right.split()), frozenset("c"), frozenset(found)) for right, found in told.items()
    ]
    answers.append(accuracy.Answer(frozenset(), frozenset("c"), frozenset("c")))
    assert str(accuracy.score(answers, "a")) == "1/1 | 1/2"
    assert str(accuracy.score(answers, "b")) == "0/1 | -"
    assert str(accuracy.score(answers, "c")) == "1/1 | 1/1"
    assert str(accuracy.score(answers, accuracy.HEALTHY)) == "1/2 | 1/2"
    assert accuracy.instead(answers, "b") == "nothing 1"
    assert accuracy.instead(answers, accuracy.HEALTHY) == "a 1"
