"""A bundle on disk, compared with what would be written now."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.bundle import folder
from yoloscope_exporter.bundle.folder import BundleError, Difference
from yoloscope_exporter.bundle.site import Site

if TYPE_CHECKING:
    from pathlib import Path

RULES = "groups:\n  - rules:\n      - alert: {}\n        expr: up == 0\n      - alert: Other\n        expr: {}\n"
OLD = {
    "prometheus/rules/a.yml": RULES.format("One", 1),
    "same": "s\n",
    "edited": "e\n",
    "missing": "m\n",
    "gone": "g\n",
    "systemd/yoloscope-notify.env": "YOLOSCOPE_NOTIFY_TO='slack://A/B/C json://x'\n",
}
NOW = {**OLD, "prometheus/rules/a.yml": RULES.format("Two", 2), "new": "n\n"}
SITE = Site(targets=("n1:9911",), notify=("slack://A/B/C", "json://x"))


def test_it_remembers_what_it_was_written_with(tmp_path: Path) -> None:
    """The addresses of alerts by their own file."""
    folder.write(tmp_path, OLD, SITE, "1.2.3")
    known = folder.manifest(tmp_path)
    assert known is not None
    assert (known.version, known.site) == ("1.2.3", SITE)
    assert folder.differences(tmp_path, known, OLD) == []
    assert folder.lost(tmp_path, known, NOW) == []


def test_every_kind_of_difference(tmp_path: Path) -> None:
    """Of files that were edited or deleted here, and of files and rules that are new, changed or gone there."""
    folder.write(tmp_path, OLD, SITE, "1.2.3")
    (tmp_path / "edited").write_text("e\nmine\n", encoding="utf-8")
    (tmp_path / "missing").unlink()
    known = folder.manifest(tmp_path)
    assert known is not None
    now = {path: text for path, text in NOW.items() if path != "gone"}
    assert folder.differences(tmp_path, known, now) == [
        Difference("edited", "edited", "1 lines added, 0 removed"),
        Difference("gone", "removed"),
        Difference("missing", "missing"),
        Difference("new", "new"),
        Difference("prometheus/rules/a.yml", "changed", "added Two; removed One; changed Other"),
    ]
    assert folder.lost(tmp_path, known, now) == ["edited"]
    assert folder.lost(tmp_path, known, {**now, "edited": "e\nmine\n"}) == []


def test_a_newer_one_replaces_it_whole(tmp_path: Path) -> None:
    """What the newer version does not have goes; what others put beside it stays."""
    folder.write(tmp_path, OLD, SITE, "1.2.3")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    folder.write(tmp_path, {"new": "#!/bin/sh\n"}, replace(SITE, job="other"), "1.2.4")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"new", "notes.txt", folder.MANIFEST}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755
    known = folder.manifest(tmp_path)
    assert known is not None
    assert (known.site.job, known.site.notify, known.version) == ("other", (), "1.2.4")


def test_others_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    """Prometheus and Grafana are other users; a folder with secrets, and one that was there, stay as they are."""
    site = tmp_path / "site"
    before = os.umask(0o077)
    try:
        folder.write(site, {**OLD, "grafana/dashboards/a": "a\n"}, SITE, "1.2.3")
        (site / "grafana").chmod(0o700)
        folder.write(site, {**OLD, "grafana/dashboards/b/c": "c\n"}, SITE, "1.2.4")
    finally:
        os.umask(before)
    modes = {path.relative_to(site).as_posix(): path.stat().st_mode & 0o777 for path in (site, *site.rglob("*"))}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"grafana", "systemd"}
    folders = (".", "prometheus", "prometheus/rules", "grafana/dashboards", "grafana/dashboards/b")
    assert {modes[name] for name in folders} == {0o755}


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A folder with other files, a manifest that is damaged or of a newer format; an empty folder is fine."""
    assert folder.manifest(tmp_path / "none") is None
    assert folder.manifest(tmp_path) is None
    (tmp_path / "x").write_text("", encoding="utf-8")
    with pytest.raises(BundleError, match="has files in it"):
        folder.manifest(tmp_path)
    for text, said in (("{", "damaged"), ("{}", "damaged"), ('{"format": 2}', "newer yoloscope")):
        (tmp_path / folder.MANIFEST).write_text(text, encoding="utf-8")
        with pytest.raises(BundleError, match=said):
            folder.manifest(tmp_path)


def test_what_others_put_where_a_new_file_goes_would_be_lost(tmp_path: Path) -> None:
    """A newer version brings a path at which somebody has a file of their own; the same content is no loss."""
    folder.write(tmp_path, OLD, SITE, "1.2.3")
    (tmp_path / "new").write_text("mine\n", encoding="utf-8")
    known = folder.manifest(tmp_path)
    assert folder.lost(tmp_path, known, NOW) == ["new"]
    (tmp_path / "new").write_text(NOW["new"], encoding="utf-8")
    assert folder.lost(tmp_path, known, NOW) == []


@pytest.mark.parametrize("named", ["../x", "/tmp/x", "a/../../x", "..\\x", "C:x", "C:\\x"])
def test_a_manifest_names_nothing_outside(tmp_path: Path, named: str) -> None:
    """Such a file would be removed as one that the newer version does not have."""
    site = tmp_path / "site"
    folder.write(site, OLD, SITE, "1.2.3")
    content = json.loads((site / folder.MANIFEST).read_text(encoding="utf-8"))
    content["files"][named] = "0"
    (site / folder.MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "x").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match="is not in its folder"):
        folder.write(site, {}, SITE, "1.2.4")
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("named", ["prometheus", "prometheus/rules", "home"])
def test_links_out_of_it_are_not_followed(tmp_path: Path, named: str) -> None:
    """Whose folder it is may have laid one to another user's, and known what is there."""
    site, theirs = tmp_path / "site", tmp_path / "theirs"
    folder.write(site, OLD, SITE, "1.2.3")
    theirs.mkdir()
    (theirs / ".bashrc").write_text("known", encoding="utf-8")
    content = json.loads((site / folder.MANIFEST).read_text(encoding="utf-8"))
    content["files"][f"{named}/.bashrc"] = folder.digest("known")
    (site / folder.MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    if (site / named).exists():
        (site / named).rename(tmp_path / "before")
    (site / named).symlink_to(theirs)
    with pytest.raises(BundleError, match=f"{named} is a link"):
        folder.write(site, NOW, SITE, "1.2.4")
    assert [path.name for path in theirs.iterdir()] == [".bashrc"]
