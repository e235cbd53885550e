"""The trainings that the kit stages on a GPU, each with the verdicts that are right for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.field_cases.cases import SLOW

MODELS = {
    "detect": "yolo11{}.yaml",
    "segment": "yolo11{}-seg.yaml",
    "pose": "yolo11{}-pose.yaml",
    "obb": "yolo11{}-obb.yaml",
    "classify": "yolo11{}-cls.yaml",
}


@dataclass(frozen=True)
class Case:
    """One training on a GPU.

    Attributes:
        why: what happens in it.
        right: verdicts worse than ok that must be told; none for a healthy one.
        allowed: verdicts that may be told besides.
        data: the data set: `small` (640 px, quick to decode), `photos` (8 megapixels, slow to decode), or a task.
        task, size: which model.
        seconds: how long it is watched after its first batch.
        image_sleep, image_work: seconds of waiting and of computing per image, in the loader.
        script: Python run before the training, with `model` in scope.
        arguments: of `model.train`.
    """

    why: str
    right: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    data: str = "small"
    task: str = "detect"
    size: str = "n"
    seconds: float = 22.0
    image_sleep: float = 0.0
    image_work: float = 0.0
    script: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def _case(why: str, right: str = "", allowed: str = "", script: str = "", **how: Any) -> Case:
    arguments = {"epochs": 10_000, "imgsz": 640, "workers": 8, "batch": 16, **how.pop("arguments", {})}
    script = SLOW + script if script else ""
    return Case(why, frozenset(right.split()), frozenset(allowed.split()), script=script, arguments=arguments, **how)


CASES: dict[str, Case] = {
    "gpu_fed": _case(
        "a big model, images in RAM: the GPU is the limit",
        allowed="low_mfu",
        size="l",
        seconds=30,
        arguments={"batch": 96, "cache": "ram", "workers": 12},
    ),
    "gpu_launches": _case(
        "the host cannot launch the kernels of a deep model with small layers as fast as a quick GPU runs them",
        "small_batch",
        size="l",
        arguments={"batch": 16, "cache": "ram", "workers": 12},
    ),
    "gpu_no_workers": _case(
        "the trainer reads photographs itself, fifteen CPUs idle",
        "loader_workers",
        data="photos",
        arguments={"workers": 0, "batch": 8, "val": False},
    ),
    "gpu_few_workers": _case(
        "two workers read photographs, a dozen CPUs idle",
        "loader_workers",
        data="photos",
        arguments={"workers": 2, "val": False},
    ),
    "gpu_decoding": _case(
        "sixteen workers decode photographs, no CPU idles",
        "loader_cpu",
        data="photos",
        arguments={"workers": 16, "val": False},
    ),
    "gpu_augmentation": _case(
        "images in RAM, transforms that compute on all CPUs",
        "loader_cpu",
        allowed="small_batch low_mfu",
        image_work=1.0,
        arguments={"workers": 16, "cache": "ram", "val": False},
    ),
    "gpu_storage": _case(
        "reads take 0.3 s, and no disk of this node is busy",
        "loader_wait",
        script='slow("ultralytics.data.base", "imread", 0.3)',
        arguments={"val": False},
    ),
    "gpu_callback": _case(
        "a logger takes 0.3 s per batch",
        "callback_bound",
        script='model.add_callback("on_train_batch_end", lambda trainer: time.sleep(0.3))',
        arguments={"val": False, "cache": "ram"},
    ),
    "gpu_small_batch": _case(
        "a small model with two images a step",
        "small_batch",
        arguments={"batch": 2, "imgsz": 320, "cache": "ram", "val": False, "mosaic": 0.0},
    ),
    "gpu_amp_off": _case(
        "AMP switched off on a card with tensor cores",
        "amp_off",
        size="l",
        arguments={"batch": 32, "cache": "ram", "workers": 12, "amp": False},
    ),
    "gpu_leak": _case(
        "a callback keeps 96 MiB of GPU memory per batch",
        "gpu_memory_leak",
        allowed="gpu_memory_pressure small_batch checkpoint_bound",
        size="m",
        seconds=34,
        script="""
import torch
kept = []
def keep(trainer):
    if len(kept) < 400:
        kept.append(torch.ones(96 * 2**18, device=trainer.device))
model.add_callback("on_train_batch_end", keep)
""",
        arguments={"cache": "ram", "val": False, "batch": 32},
    ),
    "gpu_validation": _case(
        "the validation set is many times the training set",
        "validation_bound",
        allowed="small_batch low_mfu",
        data="validation",
        arguments={"cache": "ram"},
    ),
    **{
        f"gpu_{task}": _case(
            f"healthy: {task}",
            data=task,
            task=task,
            size="x" if task == "classify" else "l",
            seconds=20,
            arguments={"cache": "ram", "batch": 32, "workers": 12, **({"imgsz": 512} if task == "classify" else {})},
        )
        for task in ("segment", "pose", "obb", "classify")
    },
}

#: Those that fit into six minutes with the other parts; what a training takes besides being watched is half a minute.
SIX_MINUTES = ("gpu_fed", "gpu_few_workers", "gpu_small_batch")
