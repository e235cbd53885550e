"""The installation, and other people's processes on the GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.settings import image_size
from yoloscope_exporter.diagnosis.rules import parts
from yoloscope_exporter.diagnosis.rules.rule import INFO, SHM, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


#: What Ultralytics' loader prepares ahead for each worker, since ultralytics#21974.
PREFETCH = 4
MORE_SHARED_MEMORY = text("docker run --ipc=host or --shm-size=8g; in Kubernetes an emptyDir with medium: Memory")
CUDA_BUILD = text("install a CUDA build: pip install torch --index-url of pytorch.org/get-started")


def prefetched(workers: float, batch: float, size: float) -> float:
    """Bytes that all workers may hold in shared memory, for images of `size` pixels a side."""
    return workers * PREFETCH * batch * 3 * size**2


def without_cuda(torch: str, gpus: float) -> str:
    """A PyTorch that can use none of the GPUs."""
    return text("PyTorch {value} has no CUDA, on a node with {gpus}", value=torch, gpus=named_gpus(gpus))


def newer_cuda(cuda: str, driver_cuda: float) -> str:
    """A PyTorch that the driver is too old for."""
    return text(
        "PyTorch was built for CUDA {cuda}, the driver supports up to {driver_cuda:g}",
        cuda=cuda,
        driver_cuda=driver_cuda,
    )


def matching_cuda(driver_cuda: float) -> str:
    """What to do about that."""
    return text(
        "update the driver, or install PyTorch built for CUDA {driver_cuda:g} or older", driver_cuda=driver_cuda
    )


def named_gpus(number: float) -> str:
    """`a GPU`, `8 GPUs`."""
    return text("a GPU") if number == 1 else text("{gpus:.0f} GPUs", gpus=number)


def _mismatch(s: Signals, _: Thresholds) -> bool:
    return bool(_environment_problem(s))


def _environment_problem(s: Signals) -> str:
    """What is wrong with the installation, in words; empty if nothing is."""
    on_cpu = s.facts.get("device", "").lower() in {"cpu", ""}
    if s.has(Signals.gpus, Signals.torch_cuda) and s.torch_cuda == 0:
        return without_cuda(s.facts.get("torch", ""), s.gpus)
    # Older drivers run newer CUDA with a compatibility package: what trains on the GPU is well.
    if on_cpu and s.has(Signals.driver_cuda, Signals.torch_cuda) and int(s.torch_cuda) > int(s.driver_cuda):
        return newer_cuda(s.facts["cuda"], s.driver_cuda)
    if s.has(Signals.gpus) and on_cpu and "device" in s.facts:
        return text("training runs on the CPU, on a node with {gpus}", gpus=named_gpus(s.gpus))
    return _shared_memory_problem(s)


def _shared_memory_problem(s: Signals) -> str:
    if not s.has(Signals.shm_size_bytes, Signals.workers, Signals.batch_size) or not s.workers:
        return ""
    needed = prefetched(s.workers, s.batch_size, image_size(s))
    if s.shm_size_bytes >= needed:
        return ""
    return s.text(
        "{shm} has {shm_size_bytes}, {workers:.0f} workers may prefetch {needed}: workers die with a bus error",
        shm=SHM,
        shm_size_bytes=units.size(s.shm_size_bytes),
        needed=units.size(needed),
    )


def _environment_advice(s: Signals) -> Advice:
    problem = _environment_problem(s)
    if problem.startswith(SHM):
        return Advice(note=MORE_SHARED_MEMORY)
    if s.get(Signals.torch_cuda, 1) == 0:
        return Advice({"device": 0}, note=CUDA_BUILD)
    if problem.startswith("PyTorch"):
        return Advice(note=matching_cuda(s.driver_cuda))
    return Advice({"device": 0})


def _amp_off(s: Signals, t: Thresholds) -> bool:
    """Whether AMP would be used, or would help: a run that waits for something else gains nothing by it."""
    if s.amp_on or "gpu" not in s.names:
        return False
    computes = s.has(Signals.compute_share) and not parts.one_is_large(s, t)
    return bool(s.amp_asked) or (s.get(Signals.amp_gain) > 1 and computes)


def _amp_evidence(s: Signals, _: Thresholds) -> str:
    if s.amp_asked:
        return text("amp=True was asked for; after its check Ultralytics trains with amp=False")
    return s.text("amp=False; GPU {gpu} can do {amp_gain:.2g} times as many operations per second in half precision")


def _amp_advice(s: Signals) -> Advice:
    if s.amp_asked:
        return Advice(
            note=text(
                "see what the log says after 'AMP:'; without a network put the model it names into the "
                "working directory; on GTX 16xx cards AMP is broken and amp=False is right"
            )
        )
    return Advice({"amp": True}, note=text("unless it was switched off because the loss was not finite"))


RULES = (
    Rule(
        name="environment",
        title="The installation does not match the machine",
        severity=WARNING,
        requires="versions, devices and /dev/shm as the run tells them",
        confused_with={
            "amp_off": "a setting, not the installation",
        },
        needs=(Signals.torch_cuda,),
        when=_mismatch,
        evidence=lambda s, _: _environment_problem(s),
        cause="PyTorch, the driver or the container's limits do not fit together",
        verify='python -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"; '
        "nvidia-smi",
        fix=_environment_advice,
        states=("setup", "train", "validate", "checkpoint"),
        remedy="a matching CUDA build, `device=0`, a larger `/dev/shm` (`--ipc=host`, `--shm-size`)",
    ),
    Rule(
        name="amp_off",
        title="AMP is off",
        severity=INFO,
        requires="the asked and the effective AMP of a run on a GPU; where amp=False was asked for, steps that only "
        "compute, and a card of the table of peaks that is faster in half precision",
        confused_with={
            "healthy": "on a CPU, and on cards without tensor cores, AMP is off by design",
        },
        needs=(Signals.amp_asked, Signals.amp_on),
        when=_amp_off,
        thresholds=tuple(parts.LIMITS),
        evidence=_amp_evidence,
        cause="amp=False was asked for, AMP gave other boxes than full precision in Ultralytics' check, or its model "
        "could not be downloaded",
        verify="the log's lines that begin with 'AMP:'",
        fix=_amp_advice,
        slows=True,
        remedy="`amp=True`, the check's model at hand; a newer PyTorch and driver",
    ),
    Rule(
        name="held_idle",
        title="A process that trains nothing holds a GPU",
        severity=WARNING,
        requires="memory of 256 MiB or more held for two minutes by a process that is no training, on a GPU that idles",
        confused_with={
            "desktop": "programs of the desktop are known by name, and hold less",
            "another container": "processes that are not visible are told as such",
        },
        needs=(Signals.held_idle_gpus,),
        when=lambda s, _: s.held_idle_gpus > 0,
        thresholds=("held_idle", "held_bytes", "held_seconds"),
        evidence=(
            lambda s, _: s.text(
                "GPU {held_idle} idles, its memory is held by what is no training known here: {held_by}"
            )
        ),
        cause="a process that computes nothing keeps its CUDA context: a notebook, a script that waits",
        verify="nvidia-smi --query-compute-apps=gpu_uuid,pid,name,used_memory --format=csv",
        fix=lambda s: Advice(note=s.text("ask its user, and end process {held_by} if nobody needs it")),
        states=("",),
        remedy="end the process if nobody needs it",
    ),
)
