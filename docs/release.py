"""Gives a release its number in every file that names one: `python -m docs.release 0.2.0`, then `make generate`.

The number of the package is in `yoloscope_exporter/__init__.py`; tags of images, the chart and the documents repeat it,
which a test compares.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from yoloscope_exporter import __version__

ROOT = Path(__file__).parents[1]
#: Beside what `make generate` writes.
NAMED_IN = (
    "exporter/yoloscope_exporter/__init__.py",
    "deploy/compose/compose.yaml",
    "deploy/docker/exporter.Dockerfile",
    "deploy/docker/training.Dockerfile",
    "deploy/helm/yoloscope/Chart.yaml",
    "deploy/helm/yoloscope/ci/full-values.yaml",
    "deploy/helm/examples/training-beside-daemonset.yaml",
    "deploy/helm/examples/training-with-sidecar.yaml",
    "deploy/kustomize/example/kustomization.yaml",
    "docs/deploy.md",
    "docs/deploy.zh-CN.md",
)
_UNRELEASED = "## [Unreleased]\n"


def renamed(text: str, old: str, new: str) -> str:
    """The text with the new number for the old one, wherever that is not part of a longer one."""
    return re.sub(rf"(?<![\d.]){re.escape(old)}(?![\d.]*\d)", new, text)


def released(changelog: str, version: str, day: str) -> str:
    """The changelog with what was unreleased under this version.

    Raises:
        ValueError: there is nothing unreleased.
    """
    before, _, after = changelog.partition(_UNRELEASED)
    section, heading, earlier = after.partition("\n## [")
    _, begin, changes = section.partition("### ")  # in front of it stands which version it will be
    if not begin:
        raise ValueError("CHANGELOG.md has nothing unreleased")
    return f"{before}{_UNRELEASED}\n## [{version}] - {day}\n\n{begin}{changes}{heading}{earlier}"


def main(version: str) -> None:
    """Write them."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        sys.exit(f"{version!r} is no version; use for example 0.2.0")
    texts = {ROOT / name: renamed((ROOT / name).read_text("utf-8"), __version__, version) for name in NAMED_IN}
    changelog = ROOT / "CHANGELOG.md"
    texts[changelog] = released(changelog.read_text("utf-8"), version, time.strftime("%Y-%m-%d"))
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2] or [""])
