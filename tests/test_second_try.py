"""`make test`: a race is named, in CI it may not return; tests marked `alone` always run; what fails is told last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import second_try

SCRIPT = Path(__file__).with_name("second_try.py")
#: Fails in the runs of `FAILS`, counted from 0; the other one writes down that it ran.
TESTS = """
import pathlib, pytest

def test_race():
    ran = pathlib.Path("ran")
    times = len(ran.read_text()) if ran.exists() else 0
    ran.write_text("x" * (times + 1))
    assert str(times) not in pathlib.Path("fails").read_text()

@pytest.mark.alone
def test_by_itself():
    first = not pathlib.Path("by_itself").exists()
    pathlib.Path("by_itself").touch()
    assert not (first and "a" in pathlib.Path("fails").read_text())
"""
NAMED = "needed a second try:\n  tests/test_it.py::test_race\n"
AGAIN = "needed one in the run before, too:\n  tests/test_it.py::test_race\n"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with the tests above, and with a blank in its name."""
    folder = tmp_path / "a b"
    (folder / "tests").mkdir(parents=True)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = -q -p xdist.plugin\nmarkers = alone: last", encoding="utf-8"
    )
    (folder / "tests/test_it.py").write_text(TESTS, encoding="utf-8")
    return folder


def test_what_has_a_target_of_its_own_is_left_out() -> None:
    """Of a call of pytest, and of `make test`."""
    settings = SCRIPT.parent.with_name("pyproject.toml").read_text(encoding="utf-8")
    assert f'"-m", "{second_try.LEFT_OUT}"]' in settings


def _run(house: Path, fails: str, *, ci: bool) -> tuple[int, str]:
    """Exit code and what is said at the end, when the race is lost in these of its runs."""
    (house / "fails").write_text(fails, encoding="utf-8")
    for name in ("ran", "by_itself"):
        (house / name).unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_XDIST_AUTO_NUM_WORKERS": "1"} | (
        {"CI": "true"} if ci else {}
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=house, env=environment, capture_output=True, text=True, check=False
    )
    assert (house / "by_itself").exists(), done.stdout + done.stderr
    return done.returncode, re.split(r"(?m)^\d+ passed.* in .*\n\n?", done.stdout)[-1]


def test_a_race_is_named(house: Path) -> None:
    """It passes where nobody else runs: said, and no failure, as often as it happens."""
    assert _run(house, "0", ci=False) == (0, NAMED)
    assert _run(house, "0", ci=False) == (0, f"{NAMED}\n{AGAIN}")


def test_ci_fails_when_it_returns(house: Path) -> None:
    """Once is forgiven; in the next run, too, is not; after a run without, it is forgiven again."""
    assert _run(house, "0", ci=True) == (0, NAMED)
    assert _run(house, "0", ci=True) == (1, f"{NAMED}\n{AGAIN}")
    assert _run(house, "", ci=True) == (0, "")
    assert (house / "ran").read_text(encoding="utf-8") == "x"
    assert _run(house, "0", ci=True) == (0, NAMED)


def test_what_is_marked_alone_has_a_second_try_too(house: Path) -> None:
    """It judges a real machine; it is named as a race is."""
    assert _run(house, "a", ci=True) == (0, "needed a second try:\n  tests/test_it.py::test_by_itself\n")


@pytest.mark.parametrize(("fails", "ci"), [("01", False), ("01", True), ("02", True)])
def test_what_fails_alone_is_a_failure(house: Path, fails: str, *, ci: bool) -> None:
    """In CI it passes alone twice, or not at all; no second try has saved it."""
    code, said = _run(house, fails, ci=ci)
    assert code == 1
    assert said.endswith("\nfailed:\n  tests/test_it.py::test_race\n")
    assert said.count("tests/test_it.py:8: in test_race\n") == 1  # the traceback, short and once


def test_a_long_traceback_is_told_without_its_middle(house: Path) -> None:
    """Beginning and end say what is wrong; with all of it, the end of the output would hold no other test's reason."""
    (house / "tests/test_it.py").write_text(
        "def test_pages():\n    assert '\\n'.join(map(str, range(2000))) == '\\n'.join(map(str, range(1, 2001)))\n"
        f"\n\n{TESTS}",
        encoding="utf-8",
    )
    code, said = _run(house, "", ci=True)
    assert code == 1
    assert said.endswith("\nfailed:\n  tests/test_it.py::test_pages\n")
    assert "in test_pages\n" in said
    assert "\n[...]\n" in said
    assert len(said.splitlines()) < 100
