"""A little of what `make fuzz` does at length: damaged records and stack files are read or refused, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_record.file_format import RecordError

from tests.faults import fuzz
from tests.trainer_hooks.yoloscope_record.records import EACH_EXAMPLE_ITS_OWN_FILE

if TYPE_CHECKING:
    from pathlib import Path

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("target", "data"),
    [(fuzz.read_record, fuzz.record), (fuzz.read_stacks, lambda _: fuzz.stacks())],
    ids=["record", "stacks"],
)
@EACH_EXAMPLE_ITS_OWN_FILE
@given(seed=st.integers(0, 2**32))
def test_damage_is_read_or_refused(tmp_path: Path, target: fuzz.Target, data: object, seed: int) -> None:
    """By one of the known words."""
    counts = fuzz.fuzz(target, data(tmp_path), 20, seed, tmp_path / "fuzzed")  # type: ignore[operator]
    assert sum(counts.values()) == 20
    assert set(counts) <= fuzz.REASONS | {"read"}


@EACH_EXAMPLE_ITS_OWN_FILE
@given(key=st.sampled_from(["kind", "run", "rank", "worker", "facts", "slots"]), value=values)
def test_any_json_in_a_header(tmp_path: Path, key: str, value: object) -> None:
    """Of any shape, in any place."""
    content = bytearray(fuzz.record(tmp_path))
    start = content.index(b'{"kind"')
    header = fuzz.json.loads(content[start : content.index(b"\0", start)])
    text = fuzz.json.dumps({**header, key: value}).encode()[:4000]
    content[start : start + len(text)] = text
    content[48:52] = fuzz.struct.pack("=I", len(text))
    path = tmp_path / "any.rec"
    path.write_bytes(content)
    try:
        fuzz.read_record(path)
    except RecordError as error:
        assert error.reason in fuzz.REASONS  # noqa: PT017 - either outcome is right
