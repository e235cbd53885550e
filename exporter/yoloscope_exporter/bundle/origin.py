"""The source that an installation comes from, as an archive that pip can fetch without git."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

from yoloscope_exporter import SOURCE

#: What pip keeps of a package that was not named by its version alone (PEP 610).
_FILE = "direct_url.json"


def archive(version: str) -> str:
    """The address of this installation's source: its commit, the newest one of a clone, else the release's tag."""
    try:
        told = distribution("yoloscope").read_text(_FILE)
    except PackageNotFoundError:
        told = None
    return archive_of(json.loads(told) if told else {}, version)


def archive_of(direct_url: dict[str, dict[str, str]], version: str) -> str:
    """The same for what pip has kept: `vcs_info` of a repository, `dir_info` of a folder, neither of a wheel."""
    if commit := direct_url.get("vcs_info", {}).get("commit_id"):
        return f"{SOURCE}/archive/{commit}.tar.gz"
    if "dir_info" in direct_url:  # what is in the folder is nowhere else; the newest commit is nearest to it
        return f"{SOURCE}/archive/HEAD.tar.gz"
    return f"{SOURCE}/archive/refs/tags/v{version}.tar.gz"
