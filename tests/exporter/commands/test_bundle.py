"""`yoloscope bundle`: written, written anew, compared, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result
from yoloscope_exporter.bundle import shipped
from yoloscope_exporter.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOLOSCOPE_NOTIFY_LANGUAGE", raising=False)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"):
        monkeypatch.setenv(name, "C.UTF-8")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bundle", *map(str, arguments)])


def test_options_stay_until_they_are_given_anew(tmp_path: Path) -> None:
    """The second call names one option; the others are those of the first."""
    site = tmp_path / "site"
    first = run(site, "--targets", "a:1,b:2", "--targets", "c:3", "--language", "zh-CN", "--notify", "json://x")
    assert first.exit_code == 0, first.output
    assert run(site, "--check").exit_code == 0
    assert run(site, "--job", "yolo").exit_code == 0
    stored = json.loads((site / "bundle.json").read_text(encoding="utf-8"))["site"]
    assert (stored["targets"], stored["language"], stored["job"]) == (["a:1", "b:2", "c:3"], "zh-CN", "yolo")
    assert "json://x" in (site / "compose/.env").read_text(encoding="utf-8")
    assert "# 本站点的 yoloscope" in (site / "README.md").read_text(encoding="utf-8")


def test_an_empty_address_of_alerts_is_none(tmp_path: Path) -> None:
    """Otherwise there was no way to take one back; without the option it stays."""
    site = tmp_path / "site"
    secret = site / "systemd/yoloscope-notify.env"
    for arguments, there in ((("--notify", "json://x"), True), ((), True), (("--notify", ""), False), ((), False)):
        assert run(site, *arguments).exit_code == 0
        assert ("json://x" in secret.read_text(encoding="utf-8")) == there


@pytest.mark.parametrize("url", ["https://g.example.org/grafana/", "http://[::1]:3000", "http://localhost:3000/a%20b"])
def test_an_address_is_written_as_it_is(tmp_path: Path, url: str) -> None:
    """But for the slash at its end, in YAML that says the same."""
    assert run(tmp_path / "site", "--grafana-url", url).exit_code == 0
    compose = yaml.safe_load((tmp_path / "site/compose/compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["grafana"]["environment"]["GF_SERVER_ROOT_URL"] == url.rstrip("/")


def test_check_says_what_a_newer_version_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alerts by name, what was edited, and by exit code whether there is anything."""
    assert run(tmp_path / "site").exit_code == 0
    newer = shipped.read()
    alerts = "deploy/prometheus/rules/alerts.yml"
    newer[alerts] = newer[alerts].replace("- alert: GpuFaulty\n", "- alert: GpuBroken\n")
    monkeypatch.setattr(shipped, "read", lambda: newer)
    monkeypatch.setattr("yoloscope_exporter.commands.bundle.__version__", "9.0.0")
    (tmp_path / "site/slurm/yoloscope.conf").write_text("YOLOSCOPE_PORT=1\n", encoding="utf-8")
    found = run("--check", tmp_path / "site")
    assert found.exit_code == 1
    assert "changed  prometheus/rules/alerts.yml: added GpuBroken; removed GpuFaulty" in found.output
    assert "edited   slurm/yoloscope.conf: " in found.output
    assert "(version 0.1.0, now 9.0.0)" in found.output.replace(json.loads(_manifest(tmp_path))["version"], "0.1.0")
    chinese = run("--check", tmp_path / "site", "--language", "zh-CN").output
    assert "有变化   prometheus/rules/alerts.yml\uff1a新增 GpuBroken\uff1b移除 GpuFaulty" in chinese


def _manifest(tmp_path: Path) -> str:
    return (tmp_path / "site/bundle.json").read_text(encoding="utf-8")


def test_edited_files_are_not_lost(tmp_path: Path) -> None:
    """They are named; --force overwrites them."""
    site = tmp_path / "site"
    assert run(site).exit_code == 0
    path = site / "prometheus/prometheus.yml"
    path.write_text("mine\n", encoding="utf-8")
    refused = run(site)
    assert refused.exit_code == 2
    assert "edited, or not written by yoloscope: prometheus/prometheus.yml" in refused.output
    assert path.read_text(encoding="utf-8") == "mine\n"
    assert run(site, "--force").exit_code == 0
    assert "scrape_configs" in path.read_text(encoding="utf-8")


def test_a_file_of_ones_own_at_a_new_path_is_not_lost(tmp_path: Path) -> None:
    """As where an older version wrote no such file: the manifest does not know it."""
    site = tmp_path / "site"
    assert run(site).exit_code == 0
    content = json.loads(_manifest(tmp_path))
    del content["files"]["slurm/yoloscope.conf"]
    (site / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    assert run(site).exit_code == 0
    (site / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    (site / "slurm/yoloscope.conf").write_text("mine\n", encoding="utf-8")
    assert "slurm/yoloscope.conf; --force" in run(site).output
    assert (site / "slurm/yoloscope.conf").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument 'DIR'"),
        (("{new}", "--grafana-url", "grafana:3000"), "'grafana:3000' is no address; use for example https://"),
        (("{new}", "--grafana-url", "https://g.example.org/a: b"), "is no address"),
        (("{new}", "--grafana-url", "https://g.example.org:"), "is no address"),
        (("{new}", "--grafana-url", "https://g.example.org/$HOME"), "is no address"),
        (("{new}", "--grafana-url", "https://g.example.org/#a"), "is no address"),
        (("{new}", "--grafana-url", "http://["), "is no address"),
        (("{new}", "--job", "a b"), "'a b' is no job"),
        (("{new}", "--targets", "node1"), "'node1' is no target; use HOST:PORT"),
        (("{new}", "--targets", ""), "'' is no target; use HOST:PORT"),
        (("{new}", "--scrape-interval", "1m"), "15s"),
        (("{new}", "--notify", "robot"), "is not as docs/notify.md has it"),
        (("{new}", "--language", "de"), "'en', 'zh-CN'"),
        (("{new}", "--check"), "there is no bundle in"),
        (("{full}",), "has files in it and no bundle.json"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """It names the field and what is allowed, and nothing is written."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("", encoding="utf-8")
    result = run(*(part.format(new=tmp_path / "new", full=tmp_path / "full") for part in arguments))
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert said in line
    assert not (tmp_path / "new").exists()


def test_an_installation_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was built from the packages alone, without the folders beside them."""
    monkeypatch.setattr(shipped, "read", dict)
    assert "no deployment files" in run(tmp_path / "site").output
