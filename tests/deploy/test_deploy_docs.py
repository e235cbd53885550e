"""The documents on deployment: what they tell people to type exists and parses, in both languages."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.commands.simulate import simulate

from tests.conftest import require_binary

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _blocks(name: str, language: str) -> list[str]:
    found = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```$", _text(name))
    return [re.sub(rf"(?m)^{indent}", "", block) for indent, block in found]


def _commands() -> list[list[str]]:
    lines = "".join(_blocks("deploy.md", "console")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


def test_both_languages_have_the_same_commands() -> None:
    """A command that changes in one language changes in the other."""
    assert _blocks("deploy.md", "console") == _blocks("deploy.zh-CN.md", "console")
    assert _text("deploy.md").count("\n| ") == _text("deploy.zh-CN.md").count("\n| ")


def test_commands_are_shell(tmp_path: Path) -> None:
    """The shell parses every block."""
    script = tmp_path / "script.sh"
    script.write_text("\n".join(_blocks("deploy.md", "console")), encoding="utf-8")
    subprocess.run(["sh", "-n", script], check=True)


def test_files_named_in_commands_exist() -> None:
    """What is installed, built or applied from the repository is in it."""
    words = [word for command in _commands() for word in command if word.startswith("deploy/")]
    assert len(words) > 8
    for word in words:
        path = ROOT / word
        assert path.exists() or path.name == "exporter-simulated.yml", word


def test_simulations_parse() -> None:
    """`yoloscope simulate` knows the options it is shown with."""
    shown = [command[2:] for command in _commands() if command[:2] == ["yoloscope", "simulate"]]
    assert len(shown) == 2
    for arguments in shown:
        simulate.make_context("simulate", arguments)


def test_service_options_parse() -> None:
    """The options for the service, as shipped, are options of `yoloscope serve`."""
    (line,) = re.findall(r'(?m)^YOLOSCOPE_ARGS="(.*)"$', (ROOT / "deploy/systemd/yoloscope.env").read_text("utf-8"))
    assert shlex.split(line)
    serve.make_context("serve", shlex.split(line))


@pytest.mark.parametrize("index", range(4))
def test_configurations_are_accepted(index: int, tmp_path: Path) -> None:
    """Promtool accepts every configuration shown for Prometheus, the agent's as an agent's."""
    block = _blocks("scale.md", "yaml")[index]
    configuration = yaml.safe_load(block)
    if "metric_relabel_configs" in configuration:
        configuration = {"scrape_configs": [{"job_name": "yoloscope", **configuration}]}
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    agent = ["--agent"] if "remote_write" in configuration else []
    command = [require_binary("promtool"), "check", "config", "--syntax-only", *agent, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scale_in_chinese_shows_the_same() -> None:
    """The same configurations; figures are in the English document alone, which the benchmark writes."""
    assert _blocks("scale.md", "yaml") == _blocks("scale.zh-CN.md", "yaml")
    assert _text("scale.md").count("\n#") == _text("scale.zh-CN.md").count("\n#")


def test_every_configuration_is_tested() -> None:
    """There are as many YAML blocks as the test above looks at."""
    assert len(_blocks("scale.md", "yaml")) == 4
