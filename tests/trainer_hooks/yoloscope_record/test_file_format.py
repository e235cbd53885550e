"""Any text that a run or a fact is called by is made readable."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_record import paths
from yoloscope_record.file_format import MAX_LABEL_LENGTH, Identity, slug
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests.trainer_hooks.yoloscope_record.records import EACH_EXAMPLE_ITS_OWN_FILE, SMALL, copied, names

if TYPE_CHECKING:
    from pathlib import Path


@EACH_EXAMPLE_ITS_OWN_FILE
@given(run=st.text(max_size=300).filter(str.strip), fact=st.text(max_size=300))  # nothing has no name
def test_any_text_is_made_readable(tmp_path: Path, run: str, fact: str) -> None:
    """Whatever a run and its facts are called, the record can be read, and lies where its identity says."""
    identity = Identity(run)
    path = paths.run_directory(tmp_path / str(next(names)), run) / identity.filename
    with closing(Writer(path, identity, {"data": fact}, **SMALL)):
        found = Reader(copied(path)).read()
    assert found.identity.filename == path.name
    assert paths.run_directory(path.parent.parent, found.identity.run) == path.parent
    assert len(found.facts["data"]) <= MAX_LABEL_LENGTH


@pytest.mark.parametrize("run", ["con", "NUL", "aux.rec", "COM1", "lpt9.txt"])
def test_devices_of_windows_are_no_names(run: str) -> None:
    """A folder of that name cannot be made there; names that only begin like one can."""
    assert slug(run) != run
    assert slug(run).startswith(run)
    assert slug(f"{run[:3]}x") == f"{run[:3]}x"


@pytest.mark.parametrize("run", ["C:\\runs\\train", 'a<b>c:d"e|f?g*h', "train/x", "训练", "train.", " train "])
def test_names_of_folders_are_allowed_everywhere(run: str) -> None:
    """What Windows forbids in names is in none, whatever the run is called."""
    assert not set('<>:"/\\|?*') & set(slug(run))
    assert slug(run) == slug(run).strip(". ")
