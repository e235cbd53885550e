"""What a run is, in words: label values of `train_run_info`, read from the trainer and the environment."""

from __future__ import annotations

import getpass
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_record.paths import NODES, SEVERAL
from yoloscope_record.system import os

from yoloscope_hooks import naming
from yoloscope_hooks.users_signals import Quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Trainer = Any  # duck-typed

MAX_LENGTH = 200
_IMAGES_DIMENSIONS = 4

_FROM_ARGUMENTS = (
    "task",
    "model",
    "data",
    "imgsz",
    "optimizer",
    "cache",
    "workers",
    "device",
    "close_mosaic",
    "nbs",
    "weight_decay",
    "lr0",
    "lrf",
    "warmup_epochs",
    "patience",
    "val",
    "save_period",
    "rect",
    "mosaic",
    "multi_scale",
    "compile",
    "deterministic",
    "fraction",
)
_FROM_ENVIRONMENT = {
    "slurm_job_id": ("SLURM_JOB_ID",),
    "slurm_job_user": ("SLURM_JOB_USER",),
    "slurm_partition": ("SLURM_JOB_PARTITION",),
    "slurm_job_end": ("SLURM_JOB_END_TIME",),
    "slurm_restarts": ("SLURM_RESTART_COUNT",),
    "namespace": ("YOLOSCOPE_NAMESPACE", "POD_NAMESPACE"),
    "pod": ("YOLOSCOPE_POD", "POD_NAME"),
    "container": ("YOLOSCOPE_CONTAINER", "CONTAINER_NAME"),
    "launch": ("YOLOSCOPE_LAUNCH",),  # which `yoloscope run` started it
}
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def gather(trainer: Trainer, environ: Mapping[str, str]) -> dict[str, str]:
    """Every fact that is known by now; what is not known is left out."""
    parts = (
        partial(_asked_for, trainer),
        partial(results, trainer),
        partial(_effective, trainer),
        software,
        partial(environment, environ),
        partial(gpu, trainer, environ),
        partial(_visible, trainer),
        partial(_layout, trainer),
        partial(process, environ),
        _boot,
    )
    return known(parts)


def known(parts: Iterable[Callable[[], Mapping[str, Any]]]) -> dict[str, str]:
    """The facts of all parts as text; what is None or empty is left out, and so is a part that fails."""
    facts: dict[str, Any] = {}
    for part in parts:
        with Quietly():  # a trainer of another shape lacks some facts, not its record
            facts.update(part())
    texts = {name: _text(value) for name, value in facts.items() if value is not None}
    return {name: text for name, text in texts.items() if text}


def _asked_for(trainer: Trainer) -> dict[str, Any]:
    arguments = getattr(trainer, "args", None)
    return {name: getattr(arguments, name, None) for name in _FROM_ARGUMENTS}


def results(trainer: Trainer) -> dict[str, Any]:
    """The folder of the results."""
    return path("save_dir", trainer.save_dir)


def path(name: str, place: object) -> dict[str, Any]:
    """The fact of this name that is a path; nothing where it could not be given back as it is."""
    text = os.path.abspath(str(place))
    return {name: text if len(text) <= MAX_LENGTH and text.isprintable() else None}


def process(environ: Mapping[str, str]) -> dict[str, Any]:
    """Whose process it is, and of how many."""
    world_size = environ.get("WORLD_SIZE", "1") if "LOCAL_RANK" in environ else "1"
    return {
        "world_size": world_size,
        NODES: SEVERAL if naming.spans_nodes(environ) else None,
        "user": _user(),
        "pid": os.getpid(),
        "host": os.uname().nodename,
    }


def _boot() -> dict[str, Any]:
    """Which life of the machine this is: another one after the run means that the machine was restarted."""
    return {"boot_id": _BOOT_FILE.read_text(encoding="ascii").strip()}


def _text(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_LENGTH]


def _effective(trainer: Trainer) -> dict[str, Any]:
    """What training really uses where that differs from what was asked for."""
    facts: dict[str, Any] = {}
    if (device := getattr(trainer, "device", None)) is not None:
        facts["device"] = device
    if (optimizer := getattr(trainer, "optimizer", None)) is not None:
        facts["optimizer"] = type(optimizer).__name__
    dataset = getattr(getattr(trainer, "train_loader", None), "dataset", None)
    if dataset is not None and hasattr(dataset, "cache"):
        facts["cache"] = dataset.cache or False  # a refused RAM cache reads None
    amp, asked = getattr(trainer, "amp", None), getattr(getattr(trainer, "args", None), "amp", None)
    facts["amp"], facts["amp_asked"] = asked if amp is None else _flag(amp), asked
    return facts


def _flag(value: Any) -> object:
    return value if isinstance(value, (bool, str, int)) else None


def software() -> dict[str, Any]:
    """Versions of what is imported, without importing anything."""
    torch = sys.modules.get("torch")
    return {
        "ultralytics": getattr(sys.modules.get("ultralytics"), "__version__", None),
        "torch": getattr(torch, "__version__", None),
        "cuda": getattr(getattr(torch, "version", None), "cuda", None),
    }


def environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The Slurm job or the pod, and what else the environment tells."""
    facts: dict[str, Any] = {}
    for name, variables in _FROM_ENVIRONMENT.items():
        facts[name] = next((environ[variable] for variable in variables if environ.get(variable)), None)
    if "KUBERNETES_SERVICE_HOST" in environ:  # a pod's host name is its own name unless hostNetwork is set
        facts["pod"] = facts["pod"] or environ.get("HOSTNAME")
        with suppress(OSError):
            facts["namespace"] = facts["namespace"] or _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    return facts


def _user() -> str | None:
    with suppress(OSError, KeyError, ImportError):  # a container may run as a number without a name
        return getpass.getuser()
    return str(os.getuid())


def gpu(trainer: Trainer, environ: Mapping[str, str]) -> dict[str, Any]:
    """The GPU's UUID as NVML writes it; the exporter knows its index."""
    device = getattr(trainer, "device", None)
    torch = sys.modules.get("torch")
    if torch is None or device is None or getattr(device, "type", "") != "cuda" or not torch.cuda.is_initialized():
        return {}
    index = torch.cuda.current_device() if device.index is None else device.index
    return {"gpu_uuid": visible_uuid(index, environ) or _property_uuid(torch, index)}


def _visible(trainer: Trainer) -> dict[str, Any]:
    """How many GPUs the process sees: Ultralytics divides the CPUs among them."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(getattr(trainer, "device", None), "type", "") != "cuda":
        return {}
    return {"visible_gpus": torch.cuda.device_count()}


def _layout(trainer: Trainer) -> dict[str, Any]:
    """Whether the weights of convolutions lie channels last; those of one channel or one place lie both ways."""
    torch = sys.modules["torch"]
    shapes = ((weight, weight.shape) for weight in trainer.model.parameters())
    weight = next((one for one, shape in shapes if len(shape) == _IMAGES_DIMENSIONS and min(shape[1:]) > 1), None)
    if weight is None:
        return {}
    return {"channels_last": weight.is_contiguous(memory_format=torch.channels_last)}


def visible_uuid(index: int, environ: Mapping[str, str]) -> str | None:
    """UUID of the `index`-th visible device where CUDA_VISIBLE_DEVICES names devices by full UUID (GPU- or MIG-)."""
    entries = [part.strip() for part in environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    entry = entries[index] if index < len(entries) else ""
    full = len("GPU-00000000-0000-0000-0000-000000000000")
    return entry if entry.startswith(("GPU-", "MIG-")) and len(entry) == full else None


def _property_uuid(torch: Any, index: int) -> str | None:
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)  # torch 2.4 and later
    text = str(uuid or "")
    return text if not text or text.startswith(("GPU-", "MIG-")) else f"GPU-{text}"
