"""Facts of a run: what training really uses, and where it runs; nothing that is not known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import facts

UUID = "GPU-8f6ab6e2-3c1c-4a41-9a27-3a3ff52e10f8"
MIG = "MIG-8f6ab6e2-3c1c-4a41-9a27-3a3ff52e10f8"


class _Moody:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def trainer(**more: Any) -> Any:
    """A trainer with arguments."""
    arguments = SimpleNamespace(
        task="detect", model="yolo11n.pt", data="coco8.yaml", imgsz=[640, 480], cache="ram", amp=True, workers=8
    )
    return SimpleNamespace(args=arguments, **more)


def test_arguments() -> None:
    """What was asked for, as text; a list of sizes is one text."""
    seen = facts.gather(trainer(), {})
    assert {
        "task": "detect",
        "imgsz": "640,480",
        "cache": "ram",
        "amp": "True",
        "amp_asked": "True",
        "workers": "8",
        "world_size": "1",
    }.items() <= seen.items()
    assert "close_mosaic" not in seen
    assert "gpu_uuid" not in seen


def test_effective_values() -> None:
    """A refused RAM cache, the chosen optimizer and the AMP that passed its check replace what was asked for."""
    loader = SimpleNamespace(dataset=SimpleNamespace(cache=None))
    optimizer = type("AdamW", (), {})()
    seen = facts.gather(trainer(train_loader=loader, optimizer=optimizer, amp=False, device="cuda:1"), {})
    assert (seen["cache"], seen["optimizer"], seen["amp"], seen["device"]) == ("False", "AdamW", "False", "cuda:1")
    assert seen["amp_asked"] == "True"


@pytest.mark.parametrize(
    "odd",
    [
        {"device": "cuda:1"},  # text, as long as Ultralytics has not chosen
        {"device": SimpleNamespace(type="cuda")},
        {"train_loader": SimpleNamespace(dataset=_Moody())},
        {"optimizer": None, "amp": object(), "args": None},
    ],
    ids=" ".join,
)
def test_odd_trainer(monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]) -> None:
    """What cannot be asked is left out, the other facts are there; with torch imported as without."""
    cuda = SimpleNamespace(is_initialized=lambda: True, current_device=_Moody(), get_device_properties=_Moody())
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="2"))
    seen = facts.gather(SimpleNamespace(**odd), {"SLURM_JOB_ID": "42"})
    assert {"slurm_job_id": "42", "torch": "2", "world_size": "1"}.items() <= seen.items()
    assert "gpu_uuid" not in seen


def test_cluster() -> None:
    """Slurm's and Kubernetes' names where there are any."""
    slurm = facts.gather(trainer(), {"SLURM_JOB_ID": "42", "SLURM_JOB_USER": "ann", "SLURM_JOB_PARTITION": "gpu"})
    assert (slurm["slurm_job_id"], slurm["slurm_job_user"], slurm["slurm_partition"]) == ("42", "ann", "gpu")
    pod = facts.gather(trainer(), {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-0", "POD_NAMESPACE": "ml"})
    assert (pod["pod"], pod["namespace"]) == ("train-0", "ml")


@pytest.mark.parametrize(
    ("folder", "known"),
    [("runs/train", True), (Path("/data/数据/train 2"), True), ("/x" * 150, False), ("/data/\n", False), (None, False)],
)
def test_folder_of_the_results(folder: Any, *, known: bool) -> None:
    """As an absolute path; left out where the record would not give it back as it is."""
    seen = facts.gather(trainer(save_dir=folder) if folder else trainer(), {})
    assert seen.get("save_dir") == (str(Path(folder).absolute()) if known else None)


def test_launch() -> None:
    """Which `yoloscope run` started it, where one did."""
    assert facts.gather(trainer(), {"YOLOSCOPE_LAUNCH": "7-42"})["launch"] == "7-42"
    assert "launch" not in facts.gather(trainer(), {})
    assert "pod" not in facts.gather(trainer(), {"HOSTNAME": "workstation"})


@pytest.mark.parametrize(
    ("visible", "index", "expected"),
    [
        (UUID, 0, UUID),
        (f"{MIG}, {UUID}", 0, MIG),
        (f"{MIG}, {UUID}", 1, UUID),
        ("GPU-8f6ab6e2", 0, None),  # abbreviated: CUDA completes it, we ask torch
        ("0,1", 1, None),
        ("", 0, None),
        (UUID, 3, None),
    ],
)
def test_visible_uuid(visible: str, index: int, expected: str | None) -> None:
    """CUDA_VISIBLE_DEVICES names the device by full UUID, MIG included, or not."""
    assert facts.visible_uuid(index, {"CUDA_VISIBLE_DEVICES": visible}) == expected


@pytest.mark.parametrize("spelling", [UUID, UUID.removeprefix("GPU-")])
def test_uuid_from_torch(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    """A device known by its number: torch tells the UUID, with or without the prefix NVML uses."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda index: SimpleNamespace(uuid=spelling),
    )
    monkeypatch.setitem(
        sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="2", version=SimpleNamespace(cuda="12.4"))
    )
    seen = facts.gather(trainer(device=SimpleNamespace(type="cuda", index=None)), {})
    assert (seen["gpu_uuid"], seen["cuda"]) == (UUID, "12.4")


def test_text_is_fit_for_a_label() -> None:
    """Line breaks and endless texts do not get into the record."""
    odd = trainer()
    odd.args.data = "a\nb" + "c" * 1000
    seen = facts.gather(odd, {})
    assert seen["data"].startswith("a?b")
    assert len(seen["data"]) <= facts.MAX_LENGTH
