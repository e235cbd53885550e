"""The source that an image is built from is the one that is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import SOURCE
from yoloscope_exporter.bundle import origin

if TYPE_CHECKING:
    from pathlib import Path

GIT = {"url": SOURCE, "vcs_info": {"vcs": "git", "commit_id": "0a5f47e", "requested_revision": "main"}}
CLONE = {"url": "file:///work/main", "dir_info": {"editable": True}}
WHEEL = {"url": "file:///tmp/yoloscope-0.2.0-py3-none-any.whl", "archive_info": {"hashes": {}}}


@pytest.mark.parametrize(
    ("direct_url", "path"),
    [(GIT, "0a5f47e"), (CLONE, "HEAD"), (WHEEL, "refs/tags/v0.2.0"), (None, "refs/tags/v0.2.0")],
    ids=["git", "clone", "wheel", "index"],
)
def test_what_pip_has_kept(
    direct_url: dict[str, object] | None, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from a distribution as pip leaves it: a commit, a folder, a release."""
    info = tmp_path / "yoloscope-0.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: yoloscope\nVersion: 0.2.0\n")
    if direct_url:
        (info / "direct_url.json").write_text(json.dumps(direct_url))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert origin.archive("0.2.0") == f"{SOURCE}/archive/{path}.tar.gz"
