"""What Ultralytics makes of its arguments: defaults, caps, refusals, and what follows from several of them.

Read in 8.4.190, and asked of the installed version by tests/exporter/diagnosis/test_ultralytics_arguments.py. Nothing
is imported from it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | str | bool

#: Ultralytics' own for the arguments that are advised or computed with; equal since 8.3.9.
DEFAULTS: Mapping[str, Value] = {
    "amp": True,
    "batch": 16,
    "cache": False,
    "compile": False,
    "deterministic": True,
    "imgsz": 640,
    "lr0": 0.01,
    "mosaic": 1.0,
    "multi_scale": 0.0,
    "nbs": 64,
    "patience": 100,
    "rect": False,
    "resume": False,
    "save_period": -1,
    "val": True,
    "warmup_epochs": 3.0,
    "weight_decay": 0.0005,
    "workers": 8,
}
#: What an argument changes of the result; nothing but the speed where that is empty.
EFFECTS: Mapping[str, tuple[str, ...]] = {
    "amp": ("accuracy",),
    "batch": ("optimisation",),
    "cache": (),
    "compile": (),
    "device": (),
    "imgsz": ("accuracy",),
    "lr0": ("optimisation",),
    "mosaic": ("accuracy",),
    "multi_scale": ("accuracy",),
    "nbs": ("optimisation",),
    "optimizer": ("optimisation",),
    "patience": ("early stopping",),
    "rect": ("accuracy",),
    "resume": (),
    "save_period": (),
    "val": ("early stopping", "best.pt"),
    "warmup_epochs": ("optimisation",),
    "weight_decay": ("optimisation",),
    "workers": (),
}
UNKNOWN_EFFECT = ("accuracy",)
#: The same two of `predict`; of a validation on its own conf is another.
PREDICT_DEFAULTS: Mapping[str, int | float] = {"conf": 0.25, "max_det": 300, "vid_stride": 1, "batch": 1}
PREDICT_EFFECTS: Mapping[str, tuple[str, ...]] = {
    "batch": (),
    "conf": ("boxes",),
    "half": ("accuracy",),
    "imgsz": ("accuracy",),
    "max_det": ("boxes",),
    "save": ("files",),
    "save_crop": ("files",),
    "save_frames": ("files",),
    "save_txt": ("files",),
    "show": (),
    "stream": (),
    "vid_stride": ("frames",),
    "visualize": ("files",),
}
#: Every argument that is ever advised.
ADVISED = frozenset({*EFFECTS, *PREDICT_EFFECTS})

#: `predict` reads so many files of a batch in threads, where there are three CPUs or more; here at the latest.
READ_AT_ONCE, READ_AT_ONCE_SINCE = 8, (8, 4, 190)

#: Share of the available memory that a RAM cache may take: it is refused unless twice its size is free
#: (`check_cache_ram`, safety margin 1.0; 0.5 in 8.4.120 and before).
CACHE_SHARE = 0.5
#: A cache on disk is refused unless a tenth more than its size is free (`check_cache_disk`, safety margin 0.1).
DISK_MARGIN = 1.1
#: Classification refuses cache=ram from 8.2.64 on until here (PR ultralytics#24670), and then never asks how much fits.
CLASSIFY_RAM_SINCE = (8, 4, 190)
#: Tasks whose data sets keep a RAM cache at imgsz, and a disk cache at the images' own size.
_RESIZED = frozenset({"detect", "segment", "pose", "obb"})
#: Arguments that older versions end with an error about; known at the latest here.
SINCE: Mapping[str, tuple[int, ...]] = {"compile": (8, 4, 190)}


def without_cuda(device: str) -> bool:
    """Whether it is a CPU or Apple's MPS: there workers are set to 0 and AMP is off, whatever is asked for."""
    return device.partition(":")[0] in {"cpu", "mps"}


def knows(version: str, name: str) -> bool:
    """Whether a version knows an argument; False for new ones where the version is not known."""
    return name not in SINCE or version_of(version) >= SINCE[name]


def version_of(text: str) -> tuple[int, ...]:
    """`8.4.190` as (8, 4, 190); empty if that is no version."""
    parts = text.split("+", 1)[0].split(".")[:3]
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def caches_in_memory(task: str, version: str) -> bool:
    """Whether `cache=ram` does anything; False where it is not known."""
    return task in _RESIZED | {""} or (task == "classify" and version_of(version) >= CLASSIFY_RAM_SINCE)


def most_workers(cpus: float, gpus: float, batches: float | None) -> int:
    """Loader workers that a rank gets at most: its share of the CPUs, none for one batch, one for each batch.

    `cpus` as os.cpu_count() says, which no quota changes; `gpus` that the process sees; `batches` of an epoch.
    """
    limit = int(cpus // max(gpus, 1))
    if batches is None:
        return limit
    return min(limit, int(batches) if batches > 1 else 0)


def accumulation(batch: int, nbs: float) -> int:
    """Batches whose gradients make one optimizer step, after warm-up; `batch` of all ranks together."""
    return max(round(nbs / batch), 1)


def images_per_step(batch: int, nbs: float) -> int:
    """Images behind one optimizer step."""
    return batch * accumulation(batch, nbs)


def decay(weight_decay: float, batch: int, nbs: float) -> float:
    """The weight decay that is used: the argument times images per step over `nbs`."""
    return weight_decay * images_per_step(batch, nbs) / nbs


def equal_optimisation(batch: int, now: int, nbs: float, weight_decay: float) -> dict[str, Value] | None:
    """`nbs` and `weight_decay` with which `batch` keeps images per step and decay of the batch `now`.

    Empty if they may stay as they are; None if no number of batches makes the step of now.
    """
    step = images_per_step(now, nbs)
    if step % batch:
        return None
    if images_per_step(batch, nbs) == step:
        return {}
    found: dict[str, Value] = {"nbs": step}
    used = decay(weight_decay, now, nbs)
    return found if used == weight_decay else found | {"weight_decay": round(used, 9)}


def parsed(text: str) -> Value:
    """A fact's text as the value that it was made from."""
    lowered = text.lower()
    if lowered in {"true", "false"}:
        return lowered == "true"
    for number in (int, float):
        with suppress(ValueError):
            found = number(text)
            return found if abs(found) < math.inf else text  # neither is NaN
    return text


def same(one: Value, other: Value) -> bool:
    """Whether Ultralytics takes them for the same: `ram` and True are the same cache, 4 and 4.0 the same number."""
    return _plain(one) == _plain(other)


def _plain(value: Value) -> Value:
    text = str(value).lower()
    if text in {"ram", "true", "fp16"}:
        return True
    return False if text in {"false", "none", "fp32"} else parsed(text)
