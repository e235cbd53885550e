"""docs/hooks.md, in both languages, and what the hooks really read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["hooks.md", "hooks.zh-CN.md"])
def test_every_variable_is_documented(name: str) -> None:
    """Each environment variable that the hooks name stands on the page, and no other does."""
    sources = (ROOT / "trainer_hooks").rglob("*.py")
    read = {variable for path in sources for variable in re.findall(r"YOLOSCOPE_[A-Z_]+\b", path.read_text("utf-8"))}
    documented = set(re.findall(r"YOLOSCOPE_[A-Z_]+\b", (ROOT / "docs" / name).read_text("utf-8")))
    assert documented == read


@pytest.mark.parametrize("name", ["hooks.md", "hooks.zh-CN.md"])
def test_python_compiles(name: str) -> None:
    """The Python that users copy is Python."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, name, "exec")
