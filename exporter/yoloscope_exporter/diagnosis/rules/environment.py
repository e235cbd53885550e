"""The installation, and other people's processes on the GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.cache import image_bytes
from yoloscope_exporter.diagnosis.rules.rule import INFO, SHM, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _mismatch(s: Signals, _: Thresholds) -> bool:
    return bool(_environment_problem(s))


def _environment_problem(s: Signals) -> str:
    """What is wrong with the installation, in words; empty if nothing is."""
    on_cpu = s.facts.get("device", "").lower() in {"cpu", ""}
    if s.has(Signals.gpus, Signals.torch_cuda) and s.torch_cuda == 0:
        return text("PyTorch {value} has no CUDA, on a node with {gpus}", value=s.facts.get("torch", ""), gpus=_gpus(s))
    # Older drivers run newer CUDA with a compatibility package: what trains on the GPU is well.
    if on_cpu and s.has(Signals.driver_cuda, Signals.torch_cuda) and int(s.torch_cuda) > int(s.driver_cuda):
        return s.text(
            "PyTorch was built for CUDA {cuda}, the driver supports up to {driver_cuda:g}", cuda=s.facts["cuda"]
        )
    if s.has(Signals.gpus) and on_cpu and "device" in s.facts:
        return text("training runs on the CPU, on a node with {gpus}", gpus=_gpus(s))
    return _shared_memory_problem(s)


def _gpus(s: Signals) -> str:
    return text("a GPU") if s.gpus == 1 else s.text("{gpus:.0f} GPUs")


def _shared_memory_problem(s: Signals) -> str:
    if not s.has(Signals.shm_size_bytes, Signals.workers, Signals.batch_size) or not s.workers:
        return ""
    needed = s.workers * 4 * s.batch_size * image_bytes(s)  # prefetch_factor 4 since ultralytics#21974
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
        return Advice(
            note=text("docker run --ipc=host or --shm-size=8g; in Kubernetes an emptyDir with medium: Memory")
        )
    if s.get(Signals.torch_cuda, 1) == 0:
        return Advice(
            {"device": 0}, note=text("install a CUDA build: pip install torch --index-url of pytorch.org/get-started")
        )
    if problem.startswith("PyTorch"):
        return Advice(note=s.text("update the driver, or install PyTorch built for CUDA {driver_cuda:g} or older"))
    return Advice({"device": 0})


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
        title="AMP was asked for and is off",
        severity=INFO,
        requires="the asked and the effective AMP of a run on a GPU",
        confused_with={
            "healthy": "on a CPU AMP is off by design",
        },
        needs=(Signals.amp_asked, Signals.amp_on),
        when=lambda s, _: bool(s.amp_asked and not s.amp_on and "gpu" in s.names),
        evidence=lambda _s, _t: text("amp=True was asked for; after its check Ultralytics trains with amp=False"),
        cause="AMP gave other boxes than full precision in Ultralytics' check, or its model could not be downloaded",
        verify="the log's lines that begin with 'AMP:'",
        fix=lambda _: Advice(
            note=text(
                "see what the log says after 'AMP:'; without a network put the model it names into the "
                "working directory; on GTX 16xx cards AMP is broken and amp=False is right"
            )
        ),
        slows=True,
        remedy="the check's model at hand; a newer PyTorch and driver",
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
