"""What a Python says that it has, and what of that does not fit the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.checks import environment
from yoloscope_exporter.checks.environment import Answer, NoAnswerError
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN, Finding
from yoloscope_exporter.checks.machine import Driver, Gpu

from tests.exporter.checks import stub

if TYPE_CHECKING:
    from pathlib import Path

CARD = Gpu("0", "NVIDIA GeForce RTX 5090", 32e9, 1e6)
DRIVER = Driver("570.86.10", "12.8", (CARD,))
TWO = Driver("570.86.10", "12.8", (CARD, CARD._replace(label="1")))
CUT = Driver("570.86.10", "12.8", (CARD, CARD._replace(label="0/3")))
NONE = Driver()
VERSIONS = {"torch": "2.7.1+cu128", "ultralytics": "8.4.190"}


def answer(**changed: Any) -> Answer:
    """A Python that can use the card."""
    return Answer(**{"python": "3.11.9", "versions": VERSIONS, "cuda": "12.8", "usable": 1, **changed})


def found(told: Answer, driver: Driver = DRIVER, visible: str | None = None, **capabilities: str) -> list[Finding]:
    """The findings behind the first, which names the Python."""
    return list(environment.findings("python", told, driver, capabilities, visible))[1:]


def of(subject: str, findings: list[Finding]) -> Finding:
    """The one about a subject."""
    (one,) = [finding for finding in findings if finding.subject == subject]
    return one


def test_this_python_is_asked() -> None:
    """The real script in a real process; its torch has no GPU here, and says no more than it has."""
    torch = pytest.importorskip("torch")
    told = environment.ask(sys.executable)
    assert told.versions["torch"].startswith(torch.__version__.split("+")[0])
    assert told.python == "{}.{}.{}".format(*sys.version_info)
    assert told.error == ""
    assert told.usable == torch.cuda.device_count()


def test_what_others_print_before_is_left_out(tmp_path: Path) -> None:
    """A sitecustomize that greets, say."""
    told = environment.ask(stub.python(tmp_path, script="echo '{hello}'"))
    assert told == Answer("3.9.1", {})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("sleep 20", "has not answered within 0.3 s"),
        ("echo Killed >&2; exit 3", "does not say what it has: Killed"),
        ("echo 3; exit 4", "does not say what it has: exit code 4"),
    ],
)
def test_a_python_that_does_not_answer(tmp_path: Path, script: str, why: str) -> None:
    """It hangs, dies, or says something else."""
    with pytest.raises(NoAnswerError, match=why):
        environment.ask(stub.python(tmp_path, script=script), 0.3 if "sleep" in script else 10.0)


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    """The system's reason."""
    with pytest.raises(NoAnswerError, match="nothing: No such file"):
        environment.ask(str(tmp_path / "nothing"))


def test_the_python_of_yolo_is_asked_where_ours_has_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first line of the script that pip has installed, else what stands beside it; ours if neither is there."""
    python = stub.python(tmp_path)
    yolo = tmp_path / "yolo"
    yolo.write_text(f"#!{python}\n", encoding="utf-8")
    yolo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "find_spec", lambda _: None)
    assert environment.python_of_trainings() == python
    (tmp_path / "python3").symlink_to(python)
    yolo.write_bytes(b"\x7fELF")
    assert environment.python_of_trainings() == str(tmp_path / "python3")
    yolo.unlink()
    assert environment.python_of_trainings() == sys.executable


def test_all_is_well() -> None:
    """A build for an older CUDA than the driver's runs, and one for newer where torch finds it usable."""
    for cuda in ("12.8", "11.8", "13.0"):
        findings = found(answer(cuda=cuda))
        assert {finding.severity for finding in findings} == {OK}
        assert of("PyTorch", findings).told == f"2.7.1+cu128, CUDA {cuda}, can use a GPU"


def test_on_a_machine_without_gpus() -> None:
    """No build is wrong."""
    for cuda in ("", "12.8"):
        one = of("PyTorch", found(answer(usable=0, cuda=cuda), NONE))
        assert one.severity == OK
        assert one.told.endswith("; no GPU to use, trains on the CPU")


def test_another_python_trains() -> None:
    """Neither package is here: nothing is wrong, and it is said how to ask the other one."""
    findings = found(answer(versions={}, usable=0))
    assert [(one.subject, one.severity) for one in findings] == [("Ultralytics", NOTE), ("PyTorch", NOTE)]
    assert all("--python PATH" in one.fix for one in findings)


@pytest.mark.parametrize(
    ("version", "severity"), [("8.3.8", WARN), ("8.3.9", OK), ("8.4.190", OK), ("8.10.0rc1", OK), ("8.2", WARN)]
)
def test_versions_of_ultralytics(version: str, severity: str) -> None:
    """Those that were tried, by number."""
    assert of("Ultralytics", found(answer(versions={**VERSIONS, "ultralytics": version}))).severity == severity


@pytest.mark.parametrize(
    ("changed", "visible", "told", "fix"),
    [
        ({"cuda": ""}, None, "has no CUDA, on a node with a GPU", "install a CUDA build"),
        ({"cuda": "13.0"}, None, "was built for CUDA 13.0, the driver supports up to 12.8", "update the driver, or"),
        ({}, "", "CUDA_VISIBLE_DEVICES= hides all GPUs", "unset"),
        ({}, "-1", "CUDA_VISIBLE_DEVICES=-1 hides all GPUs", "unset"),
        ({"said": "Error 802: system not yet initialized"}, None, "can use no GPU: Error 802", "nvidia-fabricmanager"),
        ({"said": "Error 804: forward compatibility was attempted"}, None, "can use no GPU", "cuda/compat"),
        ({"said": "CUDA unknown error - this may be"}, None, "can use no GPU", "nvidia-modprobe -u -c 0"),
        ({"said": "something new"}, None, "can use no GPU: something new", "torch.utils.collect_env"),
        ({"error": "OSError: libcudnn.so.9"}, None, "cannot be imported: OSError: libcudnn.so.9", "install it anew"),
    ],
)
def test_a_gpu_that_pytorch_cannot_use(changed: dict[str, Any], visible: str | None, told: str, fix: str) -> None:
    """Each reason has its fix."""
    one = of("PyTorch", found(answer(usable=0, **changed), DRIVER, visible))
    assert one.severity == FAIL
    assert told in one.told
    assert fix in one.fix


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ("9.0", ("sm_80", "sm_90"), True),
        ("8.6", ("sm_80",), True),  # machine code runs on later minors of its generation
        ("8.0", ("sm_86",), False),
        ("12.0", ("sm_80", "sm_90"), False),
        ("12.0", ("sm_80", "compute_90"), True),  # translated when it is loaded
        ("7.5", ("sm_80", "compute_80"), False),
        ("10.0", ("sm_100a",), True),
        ("9.0", ("nonsense",), False),
    ],
)
def test_code_for_a_gpu(capability: str, built_for: tuple[str, ...], runs: object) -> None:
    """By generation, as CUDA has it."""
    assert environment.runs_on(capability, built_for) is runs


def test_a_gpu_that_pytorch_has_no_code_for() -> None:
    """Newer than the build: named with its architecture; not where nobody tells one of both."""
    findings = list(environment.findings("python", answer(built_for=("sm_90",)), DRIVER, {"0": "12.0"}, None))
    one = of("GPU 0", findings)
    assert one.severity == FAIL
    assert "has no code for NVIDIA GeForce RTX 5090 (sm_120), but for sm_90" in one.told
    assert "sm_120" in one.fix
    for built_for, capabilities in (((), {"0": "12.0"}), (("sm_90",), {}), (("sm_120",), {"0": "12.0"})):
        findings = list(environment.findings("python", answer(built_for=built_for), DRIVER, capabilities, None))
        assert [finding for finding in findings if finding.severity == FAIL] == []


def test_fewer_gpus_than_there_are() -> None:
    """With the reason; not where MIG cuts them, and not where all can be used."""
    assert of("GPUs", found(answer(), TWO, "0")).told == "1 of 2 can be used: CUDA_VISIBLE_DEVICES=0"
    assert of("GPUs", found(answer(), TWO)).severity == NOTE
    for told, driver in ((answer(usable=2), TWO), (answer(), CUT)):
        assert [one for one in found(told, driver) if one.subject == "GPUs"] == []
