"""Why a command cannot be probed, and that nothing is left of its probes."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.tuning import session
from yoloscope_exporter.tuning.session import ended

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "output", "trained", "said"),
    [
        (1, ["Traceback", "ValueError: no"], False, "it fails by itself (exit code 1): ValueError: no"),
        (-9, [], False, "it fails by itself (signal SIGKILL): "),
        (1, ["EOFError: EOF when reading a line"], False, "it needs a terminal"),
        (1, ["termios.error: (25, 'Inappropriate ioctl for device')"], False, "it needs a terminal"),
        (0, ["done", ""], False, "no training of Ultralytics in it"),
        (0, ["EOFError was handled"], False, "no training of Ultralytics in it"),
        (0, [], True, "ended before it could be measured"),
    ],
)
def test_why_a_command_cannot_be_probed(code: int, output: list[str], trained: bool, said: str) -> None:  # noqa: FBT001
    """In its own words where it has any."""
    assert said in ended(code, output, trained=trained)[0]


def test_scratch_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both folders, with all that is in them, whatever happens; sockets' paths stay short below long ones."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path / "records"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def interrupted() -> None:
        with session.scratch() as (folder, records):
            (folder / "a").mkdir()
            (records / "b").touch()
            seen.append((folder, records))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    ((folder, records),) = seen
    assert records.parent == tmp_path
    assert len(str(folder)) < 70
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
