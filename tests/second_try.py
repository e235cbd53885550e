"""What `make test` does: the tests together, then those marked `alone`; what failed runs once more by itself.

A test that fails in company and passes alone is a race, in the test or in what it tests. It is named at the end, and
written down; in CI (`CI=true`) it has to pass alone twice, and may not be the same as in the run before. What fails
alone, too, is named last of all, behind the short tracebacks: who keeps only the end of the output has the reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

#: What has a make target of its own; the same stands in pyproject.toml, for who calls pytest.
LEFT_OUT = "not field and not hang and not long and not faults"
#: `conftest.py` puts the files with slow tests first.
TOGETHER = (
    "--cache-clear",
    "-m",
    f"not alone and {LEFT_OUT}",
    "--numprocesses",
    "auto",
    "--dist",
    "loadfile",
    "--no-loadscope-reorder",
)
#: What `auto` means, unless somebody says it: a process for each core, and one more because many tests wait.
PROCESSES = ("PYTEST_XDIST_AUTO_NUM_WORKERS", str(min(4, (os.cpu_count() or 1) + 1)))
ALONE = ("-m", f"alone and {LEFT_OUT}")
#: Where tests are, and what a file says that has some of those: collecting all others would take longer than some run.
TESTS, SAYS = Path("tests"), "mark.alone"
AGAIN = ("--tb=short", "--no-header")
PASSED, FAILED, NOTHING_COLLECTED = 0, 1, 5  # pytest's exit codes
#: What needed a second try in the last run. A CI that wants to compare runs keeps this file from one to the next.
RECORD = Path(".cache/second-try.json")
_LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
#: Lines that are shown of a traceback's beginning and of its end; a comparison of two pages has thousands.
_LINES = 20


def main() -> int:
    """Run everything from the root of the repository; 0 if all is well."""
    in_ci = bool(os.environ.get("CI"))
    os.environ.setdefault(*PROCESSES)
    together = _pytest(*TOGETHER)
    failed = _last_failed()
    if together not in {PASSED, FAILED} or (together == FAILED and not failed):
        return together
    broken = _broken(failed, in_ci=in_ci)
    alone = _pytest(*ALONE, *files) if (files := _files_that_say(SAYS)) else NOTHING_COLLECTED
    failed_alone = [test for test in _last_failed() if test not in failed] if alone == FAILED else []
    if alone not in {PASSED, NOTHING_COLLECTED} and not failed_alone:
        return alone
    broken |= _broken(failed_alone, in_ci=in_ci)
    failed += failed_alone
    rescued = [test for test in failed if test not in broken]
    repeated = _repeated(rescued)
    _say("needed a second try", rescued)
    _say("needed one in the run before, too", repeated)
    for told in dict.fromkeys(broken.values()):
        print(f"\n{told}")
    _say("failed", sorted(broken))
    return FAILED if broken or (in_ci and repeated) else PASSED


def _files_that_say(part: str) -> list[str]:
    return sorted(str(path) for path in TESTS.rglob("test_*.py") if part in path.read_text(encoding="utf-8"))


def _broken(tests: list[str], *, in_ci: bool) -> dict[str, str]:
    """Those of `tests` that fail once more, of two more times in CI, else of one; with what was said the last time."""
    broken: dict[str, str] = {}
    for _ in range(2 if tests and in_ci else bool(tests)):
        failing, told = _try_again(tests)
        broken |= dict.fromkeys(failing, told)
    return broken


def _try_again(tests: list[str]) -> tuple[list[str], str]:
    """Those of `tests` that fail without company, all of them if pytest cannot tell; and what it says, in short."""
    print(f"\nonce more, without company: {len(tests)}", flush=True)
    command = [sys.executable, "-m", "pytest", *AGAIN, *tests]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout.rstrip().rpartition("\n")[2], flush=True)
    failing = [] if done.returncode == PASSED else _last_failed() if done.returncode == FAILED else tests
    return failing, _shortened(done.stdout)


def _shortened(told: str) -> str:
    """What pytest says, without the middle of long tracebacks."""
    sections = [section.splitlines() for section in re.split(r"(?m)^(?=_{3,} .* _{3,}$|={3,} .* ={3,}$)", told)]
    return "\n".join(
        line
        for lines in sections
        for line in (lines if len(lines) <= 2 * _LINES else [*lines[:_LINES], "[...]", *lines[-_LINES:]])
    )


def _say(what: str, tests: list[str]) -> None:
    if tests:
        print(f"\n{what}:", *tests, sep="\n  ")


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _last_failed() -> list[str]:
    return sorted(json.loads(_LAST_FAILED.read_text(encoding="utf-8"))) if _LAST_FAILED.exists() else []


def _repeated(rescued: list[str]) -> list[str]:
    """Those of `rescued` that were so in the run before; they are written down for the next."""
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(rescued, indent=1), encoding="utf-8")
    return sorted(set(before) & set(rescued))


if __name__ == "__main__":
    sys.exit(main())
