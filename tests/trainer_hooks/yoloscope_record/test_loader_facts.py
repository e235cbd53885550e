"""Pids and slow files as facts: what is told is what is read, and strange facts do no harm."""

from __future__ import annotations

import math

import pytest
from yoloscope_record.file_format import MAX_LABEL_LENGTH, clean
from yoloscope_record.loader_facts import SlowFile, pid_facts, pids, slow_file_facts, slow_files


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 200])
def test_pids(count: int) -> None:
    """However many workers there are, no fact is longer than a label may be, and no pid is cut."""
    told = [4_000_000 + number for number in range(count)]
    facts = {key: clean(value) for key, value in pid_facts("loader_pids", told).items()}
    assert all(len(value) < MAX_LABEL_LENGTH for value in facts.values())
    assert pids(facts, "loader_pids") == set(told)
    assert pids(facts, "val_loader_pids") is None


def test_no_workers_and_not_known() -> None:
    """That there are none is something else than not to know."""
    assert pids(pid_facts("loader_pids", []), "loader_pids") == frozenset()
    assert pids(pid_facts("loader_pids", None), "loader_pids") is None
    assert pids({}, "loader_pids") is None


def test_fewer_workers_than_before() -> None:
    """Facts are replaced one by one: what is blank ends the list."""
    before, now = pid_facts("loader_pids", range(1, 100)), pid_facts("loader_pids", [7])
    assert pids({**before, **dict.fromkeys(before, ""), **now}, "loader_pids") == {7}


@pytest.mark.parametrize(
    ("text", "expected"), [("x", set()), ("-5", set()), ("1,,2,1e3,99999999999,0", {1, 2}), ("१", set())]
)
def test_strange_pids(text: str, expected: set[int]) -> None:
    """What is no pid is left out."""
    assert pids({"loader_pids": text}, "loader_pids") == expected


def test_slow_files() -> None:
    """Told and read again; a path with spaces and Chinese stays what it is."""
    files = [
        SlowFile(1.25, 4096, "/data/夜 班/a.jpg", 0.5, 12000, 9000, "JPEG", "nfs4", repaired=True),
        SlowFile(0.5, None, "/b"),
        SlowFile(0.25, 7, "/c.npy", 0.125, form="NPY", filesystem="fuse.s3fs"),
    ]
    assert slow_files(slow_file_facts(files)) == files


def test_long_path_loses_its_beginning() -> None:
    """The end tells files apart; the fact still fits into a label."""
    fact, _ = slow_file_facts([SlowFile(0.123456789, 123456789, "/" + "x" * 500 + "/0001.jpg")]).values()
    assert len(fact) == MAX_LABEL_LENGTH
    (file,) = slow_files({"slow_file_1": clean(fact)})
    assert file.path.startswith("…xxx")
    assert file.path.endswith("x/0001.jpg")
    assert file.seconds == pytest.approx(0.123457)


@pytest.mark.parametrize("fact", ["", "1", "1 2", "a b c", "1 -2 /x", "1..2 3 /x", "1 2 ", "nan 1 /x", "-- 1 /x"])
def test_strange_slow_files(fact: str) -> None:
    """What cannot have been told is left out."""
    assert slow_files({"slow_file_1": fact, "slow_file_9": "1 2 /never"}) == []


@pytest.mark.parametrize(
    "about", ["", "1", "? 1x JPEG ext4 ?", "1 2x3 a b c", "- 2x3 JPEG ext4 ? more", "1 2x3 J PG e ?"]
)
def test_what_older_or_broken_hooks_tell_of_a_file(about: str) -> None:
    """The file is known all the same."""
    assert slow_files({"slow_file_1": "1 2 /x", "slow_file_1_about": about}) == [SlowFile(1.0, 2, "/x")]


def test_infinite_is_read_as_it_stands() -> None:
    """The reader of numbers decides what can be true."""
    (file,) = slow_files({"slow_file_1": "1e999 1 /x"})
    assert math.isinf(file.seconds)
