"""`yoloscope check`: what it says, and its exit code."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.web.application import application

from tests.exporter import world
from tests.exporter.checks import stub
from tests.exporter.serving import running
from tests.fake_nvml import FakeNvml, steps

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from click.testing import Result


def check(node: world.World, *arguments: str) -> Result:
    """Run it on a node made of files, with a Python that has no torch unless the test names another."""
    python = () if "--python" in arguments else ("--python", stub.python(node.root))
    roots = (f"--path.procfs={node.procfs}", f"--path.sysfs={node.root / 'sys'}", f"--path.records={node.records}")
    return CliRunner().invoke(main, ["check", "--web.listen-address=127.0.0.1:0", *roots, *python, *arguments])


def line(result: Result, subject: str) -> str:
    """The line about a subject, with its fix behind it."""
    lines = result.output.splitlines()
    number = next(number for number, text in enumerate(lines) if f"  {subject} " in text)
    below = lines[number + 1] if number + 1 < len(lines) else ""
    return lines[number] + (below if below.startswith("      fix ") else "")


def test_healthy_node(tmp_path: Path) -> None:
    """Everything is ok, exit code 0, and each collector says what it found."""
    result = check(world.build(tmp_path))
    assert result.exit_code == 0
    assert re.match(r"ok    collector cpu +13 samples in [\d.]+ ms", line(result, "collector cpu"))
    assert "FAIL" not in result.output


def test_healthy_gpu(tmp_path: Path) -> None:
    """Both halves of the GPU collector are ok."""
    with FakeNvml(tmp_path).in_process():
        result = check(world.build(tmp_path / "node"))
    assert result.exit_code == 0
    for collector in ("gpu", "gpu_details"):
        assert line(result, f"collector {collector}").startswith("ok")


def test_lost_gpu_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A GPU that fell off the bus is named, exit code 1, and logged once, however often the driver is asked."""
    with FakeNvml(tmp_path, steps("lost_gpu")[1]).in_process():
        result = check(world.build(tmp_path / "node"))
    assert result.exit_code == 1
    assert re.match(r"FAIL  collector gpu +GPU 2 does not answer.* fix +dmesg", line(result, "collector gpu"))
    assert sum("GPU 2 does not answer" in message for message in caplog.messages) == 1


def test_a_gpu_without_memory_of_its_own_is_a_note(tmp_path: Path) -> None:
    """Unified memory, as the fake library tells it: no failure, said once, and what is judged instead."""
    with FakeNvml(tmp_path, steps("unified_memory")[0]).in_process():
        result = check(world.build(tmp_path / "node"))
    assert result.exit_code == 0
    assert line(result, "collector gpu").startswith("ok")
    assert re.match(r"note  GPU 0 +.*the node's is judged", line(result, "GPU 0"))


def test_pytorch_that_cannot_use_a_gpu_fails(tmp_path: Path) -> None:
    """Which the driver shows: the CUDA that was asked apart is compared with it, and the fix is told."""
    told = {"python": "3.12.1", "versions": {"torch": "2.7.1", "ultralytics": "8.4.190"}, "cuda": "14.0", "usable": 0}
    with FakeNvml(tmp_path).in_process():
        result = check(world.build(tmp_path / "node"), "--python", stub.python(tmp_path, told))
    assert result.exit_code == 1
    assert re.match(
        r"FAIL  PyTorch +PyTorch was built for CUDA 14.0, .* fix +update the driver", line(result, "PyTorch")
    )
    assert line(result, "Ultralytics").startswith("ok")


def test_a_python_that_says_nothing_is_a_warning(tmp_path: Path) -> None:
    """The rest is looked at all the same; a program that is not there is refused."""
    node = world.build(tmp_path)
    result = check(node, "--python", stub.python(tmp_path, script="echo broken >&2; exit 1"))
    assert result.exit_code == 0
    assert re.match(r"warn  Python .*: broken +fix +name another one: --python PATH", line(result, "Python"))
    assert line(result, "collector cpu").startswith("ok")
    result = check(node, "--python", "nosuchpython")
    assert (result.exit_code, result.output.strip()) == (
        2,
        "Error: --python nosuchpython: no program that can be run (see main check --help)",
    )


def test_json(tmp_path: Path) -> None:
    """The same findings, in English in any language; the exit code is that of the text."""
    node = world.build(tmp_path)
    world.write(node.procfs, {"stat": "cpu  one two\n"})
    text = check(node)
    result = check(node, "--format", "json", "--language", "zh-CN")
    assert result.exit_code == text.exit_code == 1
    found = json.loads(result.stdout)["findings"]
    assert [one["severity"] for one in found if one["subject"] == "collector cpu"] == ["fail"]
    assert {tuple(one) for one in found} == {("severity", "subject", "text", "fix")}
    assert len(found) == sum(not line.startswith("      ") for line in text.output.splitlines())


def test_in_chinese(tmp_path: Path) -> None:
    """Not one line with English but names."""
    result = check(world.build(tmp_path), "--language", "zh-CN")
    told = [re.sub(r"[~/][^\s\uff1a]*|`[^`]*`|\w+_\w+|--\w+|[\w.]+:\d+", "", one) for one in result.output.splitlines()]
    names = "GPU|Python|PyTorch|Ultralytics|PATH|exporter|NVIDIA|MiB|GiB|ms|libnvidia-ml.so.1|TLS|CUDA|"
    names += "runs|gpu|cpu|memory|disk|network|pressure|cgroup|process|stacks|diagnosis|filesystem"
    assert [one for one in told if re.search(r"[A-Za-z]{2}", re.sub(rf"\b({names})\b", "", one))] == []


def test_missing_sources_are_notes(tmp_path: Path) -> None:
    """No pressure files, no CPU times and no record directory are worth a note."""
    node = world.build(tmp_path)
    (node.procfs / "stat").unlink()
    (node.procfs / "pressure").rename(tmp_path / "elsewhere")
    result = check(node, f"--path.records={tmp_path / 'none'}")
    assert result.exit_code == 0
    assert line(result, "collector pressure").startswith("note")
    assert re.match(r"note  collector cpu .*/stat is not there", line(result, "collector cpu"))
    assert line(result, "records").startswith("note")


def test_broken_source_fails(tmp_path: Path) -> None:
    """A collector that cannot read what must be there is named, exit code 1."""
    node = world.build(tmp_path)
    world.write(node.procfs, {"stat": "cpu  one two\n"})
    result = check(node)
    assert result.exit_code == 1
    assert line(result, "collector cpu").startswith("FAIL")


def test_taken_address_fails(tmp_path: Path) -> None:
    """An address that somebody else has is named with the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken.settimeout(0)
        result = check(world.build(tmp_path), f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 1
    assert "choose another address, or port 0" in line(result, "exporter")


def test_address_of_something_else(tmp_path: Path) -> None:
    """Somebody there who does not speak HTTP, a secure shell say, is no exporter, and no reason to fall over."""
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def greet() -> None:
            client, _ = taken.accept()
            with client:
                client.sendall(b"SSH-2.0-OpenSSH\r\n")
                client.recv(1000)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        result = check(world.build(tmp_path), f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}")
        thread.join(10)
    assert "choose another address, or port 0" in line(result, "exporter")


def test_exporter_that_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it listens on every interface, and when the environment names a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with running(application(SimpleNamespace(alive=True)), host="") as made:  # type: ignore[arg-type]
        result = check(world.build(tmp_path), f"--web.listen-address=:{made.address.port}")
    assert "an exporter is running there" in line(result, "exporter")


def test_bad_web_configuration_fails(tmp_path: Path) -> None:
    """What `serve` would refuse is said here too."""
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {ada: plain}\n")
    result = check(world.build(tmp_path / "node"), f"--web.config.file={file}")
    assert result.exit_code == 1
    assert "must be a bcrypt hash" in line(result, "web configuration")


def test_unix_socket_is_left_free(tmp_path: Path, short_path: Path) -> None:
    """Looking whether the server could listen leaves no file behind."""
    path = short_path / "web.sock"
    result = check(world.build(tmp_path / "node"), f"--web.listen-address=unix:{path}")
    assert f"unix:{path} is free" in line(result, "exporter")
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        result = check(world.build(tmp_path / "node2"), f"--web.listen-address=unix:{path}")
        assert line(result, "exporter").startswith("FAIL")
        assert path.exists()


def test_a_record_directory_that_is_not_safe(tmp_path: Path) -> None:
    """Where others may remove one's records; one of root's that is open to all and sticky is fine."""
    node = world.build(tmp_path)
    node.records.chmod(0o1777)
    assert line(check(node), "records").startswith("ok")
    node.records.chmod(0o777)
    told = line(check(node), "records")
    assert told.startswith("warn")
    assert "has mode 0777: anybody may remove others' records from it" in told
    assert f"chmod 1777 {node.records}" in told
    node.records.chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(node.records, 61001, 61001)
        assert "belongs to the user 61001, who may remove others' records" in line(check(node), "records")
        (node.records / "yoloscope-61002").mkdir()
        assert "it has another user's name, and is not that user's" in check(node).output
    assert check(node).exit_code == 0


def test_wsl2_says_what_is_different(tmp_path: Path) -> None:
    """On its kernel, and on no other."""
    node = world.build(tmp_path)
    assert "WSL2" not in check(node).output
    kernel = node.procfs / "sys/kernel"
    kernel.mkdir(parents=True, exist_ok=True)
    (kernel / "osrelease").write_text("5.15.167.4-microsoft-standard-WSL2\n")
    assert re.match(r"note  WSL2 .*processes.*GiB of memory.*/mnt is slow.*docs/wsl2\.md", line(check(node), "WSL2"))
