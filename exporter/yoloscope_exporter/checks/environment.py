"""The Python that trains: its PyTorch, whether that can use CUDA, and Ultralytics. Asked in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN, Finding
from yoloscope_exporter.diagnosis.rules import environment
from yoloscope_exporter.language import finished, joined, reason, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yoloscope_exporter.checks.machine import Driver

SCRIPT = Path(__file__).with_name("asked.py")
#: Importing torch from a cold disk takes most of a minute.
PATIENCE_SECONDS = 90.0
#: No hook records the question, it takes one CPU, and Ultralytics is not imported at all.
ENVIRONMENT = {"YOLOSCOPE": "off", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
#: The oldest version that has been tried (docs/hooks.md).
OLDEST_ULTRALYTICS = (8, 3, 9)
#: What CUDA says -> what to do about it, as pytorch.org's and NVIDIA's forums have it.
_REMEDIES = (
    (r"driver.*too old|insufficient", text("update NVIDIA's driver, or install PyTorch built for an older CUDA")),
    (r"Error 802|not yet initialized", text("systemctl start nvidia-fabricmanager, of the driver's version")),
    (
        r"Error 80[34]|driver combination|forward compatibility",
        text(
            "restart the machine after an update of the driver; in a container take cuda/compat out of LD_LIBRARY_PATH"
        ),
    ),
    (r"Error 999|unknown error", text("nvidia-modprobe -u -c 0, or restart the machine; it happens after a suspend")),
    (r"out of memory", text("another process has all memory of a GPU: nvidia-smi shows which")),
)


class NoAnswerError(Exception):
    """A Python does not say what it has; the text says why."""


class Answer(NamedTuple):
    """What it has.

    Attributes:
        python: its version.
        versions: of torch, torchvision and ultralytics, where they are installed.
        cuda: the version torch was built for, `rocm` and a number for AMD, empty without.
        usable: how many GPUs torch can use.
        built_for: architectures with code in torch: `sm_90`, `compute_90`.
        said: why it cannot use CUDA, in torch's words.
        error: why torch cannot be imported.
    """

    python: str
    versions: Mapping[str, str]
    cuda: str = ""
    usable: int = 0
    built_for: tuple[str, ...] = ()
    said: str = ""
    error: str = ""


# --- asking -----------------------------------------------------------------------------------------------------------


def python_of_trainings() -> str:
    """This Python if it has torch, else that of the `yolo` on the PATH, else this one all the same."""
    yolo = shutil.which("yolo")
    if find_spec("torch") or not yolo:
        return sys.executable
    return _python_of(Path(yolo)) or sys.executable


def _python_of(script: Path) -> str:
    """The Python that a script installed by pip starts with, or that stands beside it; empty if neither is there."""
    first = b""
    with suppress(OSError), script.open("rb") as file:
        first = file.readline(500)
    named = first[2:].decode(errors="replace").strip() if first.startswith(b"#!/") else ""
    beside = (str(script.with_name(name)) for name in ("python", "python3", "python.exe"))
    return next((path for path in (named, *beside) if path and os.access(path, os.X_OK)), "")


def ask(python: str, seconds: float = PATIENCE_SECONDS) -> Answer:
    """Let a Python say what it has.

    Raises:
        NoAnswerError: it cannot be run, says nothing within `seconds`, or something else.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the Python that was named, or ours
            [python, str(SCRIPT)],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(
            text("{python} has not answered within {seconds:g} s", python=python, seconds=seconds)
        ) from None
    except OSError as error:
        raise NoAnswerError(joined((python, reason(error)), ": ")) from None
    lines = done.stdout.decode(errors="replace").splitlines()
    try:
        return answered(json.loads(lines[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NoAnswerError(text("{python} does not say what it has: {said}", python=python, said=said[0])) from None


def answered(content: object) -> Answer:
    """What the script has said.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    if not isinstance(content, dict):
        raise TypeError(content)
    hip, built_for, versions = content.get("hip"), content.get("built_for", ()), content["versions"]
    if not isinstance(built_for, (list, tuple)) or not isinstance(versions, dict):
        raise TypeError(content)
    return Answer(
        python=str(content["python"]),
        versions={str(name): str(version) for name, version in versions.items()},
        cuda=f"rocm {hip}" if hip else str(content.get("cuda", "")),
        usable=int(str(content.get("usable", 0))),
        built_for=tuple(map(str, built_for)),
        said=str(content.get("said", "")),
        error=str(content.get("error", "")),
    )


# --- what that says ---------------------------------------------------------------------------------------------------


def findings(
    python: str, answer: Answer, driver: Driver, capabilities: Mapping[str, str], visible: str | None
) -> Iterator[Finding]:
    """Ultralytics, PyTorch, and whether they fit driver and GPUs.

    Args:
        python: that was asked.
        answer: what it has.
        driver: what NVML tells.
        capabilities: index of a GPU -> its compute capability.
        visible: CUDA_VISIBLE_DEVICES, if it is set.
    """
    yield Finding(OK, "Python", text("{version}, {python}", version=answer.python, python=python))
    yield _ultralytics(answer)
    yield _torch(answer, driver, visible)
    if answer.usable:
        yield from _without_code(answer, driver, capabilities)
        yield from _hidden(answer, driver, visible)


_ELSEWHERE = text("fine if the training has a Python of its own; name that one: --python PATH")


def _ultralytics(answer: Answer) -> Finding:
    version = answer.versions.get("ultralytics", "")
    if not version:
        return Finding(NOTE, "Ultralytics", text("not in this Python"), _ELSEWHERE)
    if numbers(version) < OLDEST_ULTRALYTICS:
        oldest = ".".join(map(str, OLDEST_ULTRALYTICS))
        told = text("{version} is older than {oldest}, the oldest that was tried", version=version, oldest=oldest)
        return Finding(WARN, "Ultralytics", told, text("pip install --upgrade ultralytics"))
    return Finding(OK, "Ultralytics", version)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: 8, 4, 190 of `8.4.190rc1`."""
    return tuple(int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version)[0]))  # type: ignore[index]


def _torch(answer: Answer, driver: Driver, visible: str | None) -> Finding:
    version = answer.versions.get("torch", "")
    if not version:
        return Finding(NOTE, "PyTorch", text("not in this Python"), _ELSEWHERE)
    if answer.error:
        told = text("{version} cannot be imported: {error}", version=version, error=answer.error)
        return Finding(FAIL, "PyTorch", told, text("install it anew in that Python: pytorch.org/get-started"))
    if answer.usable:
        gpus = environment.named_gpus(answer.usable)
        return Finding(
            OK, "PyTorch", text("{version}, CUDA {cuda}, can use {gpus}", version=version, cuda=answer.cuda, gpus=gpus)
        )
    if not driver.whole:
        built = text("{version}, CUDA {cuda}", version=version, cuda=answer.cuda) if answer.cuda else version
        return Finding(OK, "PyTorch", joined((built, text("no GPU to use, trains on the CPU"))))
    if not answer.cuda:
        return Finding(FAIL, "PyTorch", environment.without_cuda(version, len(driver.whole)), environment.CUDA_BUILD)
    return _unusable(answer, driver, visible)


def _unusable(answer: Answer, driver: Driver, visible: str | None) -> Finding:
    """There are GPUs, PyTorch was built for CUDA, and yet it can use none of them."""
    if visible is not None and visible.strip() in {"", "-1"}:
        told = text("CUDA_VISIBLE_DEVICES={visible} hides all GPUs", visible=visible)
        return Finding(FAIL, "PyTorch", told, text("unset CUDA_VISIBLE_DEVICES"))
    cuda = _number(driver.cuda)
    if 0 < int(cuda) < int(_number(answer.cuda)):
        return Finding(FAIL, "PyTorch", environment.newer_cuda(answer.cuda, cuda), environment.matching_cuda(cuda))
    version = answer.versions["torch"]
    told = text("{version}, CUDA {cuda}, can use no GPU: {said}", version=version, cuda=answer.cuda, said=answer.said)
    otherwise = text("see what `nvidia-smi` and `python -m torch.utils.collect_env` say")
    fix = next((fix for pattern, fix in _REMEDIES if re.search(pattern, answer.said, re.IGNORECASE)), otherwise)
    return Finding(FAIL, "PyTorch", told, fix)


def _number(version: str) -> float:
    found = re.match(r"\d+(\.\d+)?", version)
    return float(found[0]) if found else 0.0


def _without_code(answer: Answer, driver: Driver, capabilities: Mapping[str, str]) -> Iterator[Finding]:
    """GPUs that PyTorch has no code for: its first kernel fails."""
    for gpu in driver.whole:
        capability = capabilities.get(gpu.label, "")
        if capability and answer.built_for and not runs_on(capability, answer.built_for):
            architecture = f"sm_{capability.replace('.', '')}"
            told = text(
                "PyTorch {version} has no code for {name} ({architecture}), but for {built_for}",
                version=answer.versions["torch"],
                name=gpu.name,
                architecture=architecture,
                built_for=", ".join(answer.built_for),
            )
            fix = text("install a PyTorch that has {architecture}: pytorch.org/get-started", architecture=architecture)
            yield Finding(FAIL, text("GPU {index}", index=gpu.label), told, fix)


def runs_on(capability: str, built_for: tuple[str, ...]) -> bool:
    """Whether code runs on a GPU: machine code on its own generation, `compute_` on any that is not older."""
    version = tuple(int(part) for part in capability.split("."))
    codes = [found.groups() for name in built_for if (found := re.match(r"(sm|compute)_(\d+)(\d)", name))]
    return any(
        (int(major), int(minor)) <= version and (kind == "compute" or int(major) == version[0])
        for kind, major, minor in codes
    )


def _hidden(answer: Answer, driver: Driver, visible: str | None) -> Iterator[Finding]:
    """Fewer GPUs than the driver has; of those cut by MIG nobody can tell."""
    if answer.usable < len(driver.whole) == len(driver.gpus):
        told = text(
            "{usable} of {gpus} can be used: {why}",
            usable=answer.usable,
            gpus=len(driver.whole),
            why=f"CUDA_VISIBLE_DEVICES={visible}" if visible else finished(answer.said) or text("no reason given"),
        )
        yield Finding(NOTE, text("GPUs"), told)
