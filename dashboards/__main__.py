"""Write the dashboards, or compare them with what is committed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from dashboards.generate import ROOT, files
from dashboards.localise import UntranslatedError

if TYPE_CHECKING:
    from pathlib import Path


def main() -> int:
    """Exit status 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    check = parser.parse_args().check
    try:
        made = files()
    except UntranslatedError as error:
        sys.exit(f"{error.args[0]!r} has no Chinese: a line in language/zh_cn/dashboards.py")
    stale = {path: text for path, text in made.items() if not _is(ROOT / path, text)}
    for path, text in stale.items():
        print(f"{'differs' if check else 'wrote'}: {path}")
        if not check:
            _write(ROOT / path, text)
    if check and stale:
        print("run `python -m dashboards` and commit the result")
    return int(check and bool(stale))


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
