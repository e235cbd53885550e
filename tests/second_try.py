"""What `make test` does: the tests together, then those marked `alone`; what failed runs once more by itself.

A test that fails in company and passes alone is a race, in the test or in what it tests. It is named at the end, and
written down; in CI (`CI=true`) it has to pass alone twice, and may not be the same as in the run before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TOGETHER = (
    "--cache-clear",
    "-m",
    "not alone and not field and not hang and not long",
    "--numprocesses",
    "auto",
    "--maxprocesses",
    "4",
    "--dist",
    "loadfile",
)
ALONE = ("-m", "alone and not long")
PASSED, FAILED, NOTHING_COLLECTED = 0, 1, 5  # pytest's exit codes
#: What needed a second try in the last run. A CI that wants to compare runs keeps this file from one to the next.
RECORD = Path(".cache/second-try.json")
_LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Run everything from the root of the repository; 0 if all is well."""
    in_ci = bool(os.environ.get("CI"))
    together = _pytest(*TOGETHER)
    failed = _last_failed()
    if together not in {PASSED, FAILED} or (together == FAILED and not failed):
        return together
    broken = _broken(failed, in_ci=in_ci)
    alone = _pytest(*ALONE)
    failed_alone = [test for test in _last_failed() if test not in failed] if alone == FAILED else []
    if alone not in {PASSED, NOTHING_COLLECTED} and not failed_alone:
        return alone
    broken |= _broken(failed_alone, in_ci=in_ci)
    failed += failed_alone
    rescued = [test for test in failed if test not in broken]
    repeated = _repeated(rescued)
    _say("needed a second try", rescued)
    _say("needed one in the run before, too", repeated)
    return FAILED if broken or (in_ci and repeated) else PASSED


def _broken(tests: list[str], *, in_ci: bool) -> set[str]:
    """Those of `tests` that fail once more: of two more times in CI, else of one."""
    broken: set[str] = set()
    for _ in range(2 if in_ci else 1):
        broken.update(_failing(tests))
    return broken


def _failing(tests: list[str]) -> list[str]:
    """Those of `tests` that fail without company; all of them if pytest cannot tell."""
    code = _pytest(*tests) if tests else PASSED
    return [] if code == PASSED else _last_failed() if code == FAILED else tests


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
