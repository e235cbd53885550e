"""What axe-core finds on a page: names, roles, contrast, order of headings."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chromium import Page

AXE = "axe-core@4.14.1"
CACHE = Path(__file__).parents[1] / ".cache"


def violations(tab: Page) -> list[tuple[str, ...]]:
    """Everything moderate or worse on the page that is open: which rule, how bad, where, why."""
    with _unpacked() as script:
        tab.value(f"{script.read_text(encoding='utf-8')}; 1")
    return [
        (one["id"], one["impact"], node["html"][:120], node["failureSummary"][:200])
        for one in tab.value("axe.run().then(({ violations }) => violations)")
        for node in one["nodes"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]


@contextmanager
def _unpacked() -> Iterator[Path]:
    """axe-core's script, from the npm registry, kept in the cache; the test is skipped where that does not answer."""
    script = CACHE / "axe" / AXE / "axe.min.js"
    if not script.exists():
        npm = require_binary("npm")
        with tempfile.TemporaryDirectory() as scratch:
            command = [npm, "pack", "--silent", "--fetch-retries=1", "--fetch-timeout=30000", AXE]
            try:
                done = subprocess.run(command, check=False, cwd=scratch, capture_output=True, text=True, timeout=120)
            except subprocess.TimeoutExpired:
                pytest.skip("the npm registry does not answer")
            if done.returncode:
                pytest.skip(f"npm reaches no registry with axe-core: {done.stderr.strip()[-200:]}")
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as packed:
                packed.extract("package/axe.min.js", scratch, filter="data")
            script.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(scratch) / "package/axe.min.js", script)
    yield script
