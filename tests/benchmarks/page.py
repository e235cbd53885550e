"""What the benchmarks share: docs/benchmarks.md, where each keeps one section, and the machine's description."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def made_by(script: str) -> str:
    """The line below a heading: date, machine, command."""
    return f"{time.strftime('%Y-%m-%d')}, {machine()}; `python tests/benchmarks/{script}`."


def machine() -> str:
    """What it ran on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    name = model[1] if model else platform.machine()
    release = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores of {name}, Linux {release}, Python {platform.python_version()}"


def write(section: str, page: Path = PAGE) -> None:
    """Replace the section that has the same `## heading` as its first line, or append it; the rest stays as it is."""
    heading, end = section.partition("\n")[0], section.rstrip("\n") + "\n"
    head, *sections = re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [old.partition("\n")[0] for old in sections]
    if heading in found:
        sections[found.index(heading)] = end
    else:
        sections.append(end)
    page.write_text("\n".join(part.rstrip("\n") + "\n" for part in (head, *sections)), encoding="utf-8")


def between(document: str, mark: str, text: str) -> str:
    """The document with `text`, which ends with a line, between the comments `mark` and `/mark`.

    Raises:
        ValueError: the document has no such comments.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no {begin!r} and {end!r} in the document")
    return f"{before}{begin}{text}{end}{after}"
