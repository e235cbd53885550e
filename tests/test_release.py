"""What a release needs: one number in all files, a changelog that can be cut, templates and scripts that parse."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from yoloscope_exporter import __version__

from docs import release
from tests.conftest import require_binary

ROOT = Path(__file__).parents[1]
_TAG = re.compile(r"(?:\byolo(?:scope|-training):|\bnewTag: |\bversion: |\bappVersion: |\bv)(\d+\.\d+\.\d+)\b")


def _named(path: Path) -> set[str]:
    """Versions of ours that a file names; those of other images stand behind other names."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {version for line in lines if "image: prom/" not in line for version in _TAG.findall(line)}


@pytest.mark.parametrize("name", release.NAMED_IN)
def test_every_file_names_this_version(name: str) -> None:
    """The images' tags, the chart, the documents; and there is something to compare."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert __version__ in text
    assert _named(ROOT / name) <= {__version__}


def test_no_other_file_names_one() -> None:
    """Of those that people write: a release would forget it."""
    generated = ("deploy/kustomize/base", "deploy/helm/yoloscope/files")
    paths = [*(ROOT / "deploy").rglob("*"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    names = {str(path.relative_to(ROOT)) for path in paths if path.is_file() and path.suffix not in {".pyc", ".png"}}
    others = {name for name in names if not name.startswith(generated)} - set(release.NAMED_IN)
    tag = re.compile(rf"yolo(?:scope|-training):{re.escape(__version__)}\b")
    assert [name for name in others if tag.search((ROOT / name).read_text(encoding="utf-8", errors="replace"))] == []


def test_a_number_is_renamed_as_a_whole() -> None:
    """Not where it is part of another one."""
    text = "yoloscope:0.1.0 and 10.1.0, 0.1.01, 0.1.0.2; v0.1.0."
    assert release.renamed(text, "0.1.0", "0.2.0") == "yoloscope:0.2.0 and 10.1.0, 0.1.01, 0.1.0.2; v0.2.0."


def test_the_changelog_can_be_released() -> None:
    """Its unreleased part stands under the version afterwards, whole; an empty one is refused."""
    head, heading, rest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("## [Unreleased]\n")
    text = f"{head}{heading}\n### Added\n\n- A thing.\n\n## [{rest.partition('## [')[2]}"
    cut = release.released(text, "9.9.9", "2030-01-02")
    assert "## [Unreleased]\n\n## [9.9.9] - 2030-01-02\n\n### Added\n" in cut
    assert cut.partition("### ")[2] == text.partition("### ")[2]
    with pytest.raises(ValueError, match="nothing unreleased"):
        release.released(cut, "9.9.10", "2030-01-03")


def test_the_changelog_has_this_version() -> None:
    """With what it is in some sentences, and the kinds of Keep a Changelog alone; what is unreleased stands above."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, _, released = text.partition(f"\n## [{__version__}] - ")
    assert unreleased.count("\n## ") == 1
    assert "\n## [Unreleased]\n" in unreleased
    summary, *kinds = re.split(r"(?m)^### ", released.partition("\n## [")[0])
    assert len(summary.partition("\n")[2]) > 200
    names = {kind.partition("\n")[0] for kind in kinds}
    assert "Added" in names
    assert names <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_issue_forms_are_forms(path: Path) -> None:
    """Each field has an id of its own and a label; the platform refuses others."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["type"] in {"textarea", "input"} and field["attributes"]["label"] for field in form["body"])


def test_hooks_before_a_commit_are_those_of_make_check() -> None:
    """The same three programs, from the same environment."""
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = {hook["entry"] for hook in local["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = {
        line.replace("$(BIN)", ".venv/bin") for line in re.findall(r"(?m)^\t@(\$\(BIN\)/(?:ruff|mypy).*)$", makefile)
    }
    assert called == entries - {"shellcheck"}


@pytest.mark.parametrize("name", [".ci/run", ".ci/release", ".ci/audit"])
def test_scripts_are_shell(name: str) -> None:
    """Shellcheck finds nothing."""
    subprocess.run([require_binary("shellcheck"), ROOT / name], check=True)
