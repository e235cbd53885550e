"""Parts of the kit that are commands of the CLI: `tune --batch`, `bench --half`, `stacks` in a hang, predictions."""

# Runs where mypy's stubs of torch and Ultralytics are not: everything it says is read by people.
from __future__ import annotations

import gzip
import re
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.gpu.kit import data
from tests.gpu.kit.cases import CASES
from tests.gpu.kit.parts import Kit, judged

if TYPE_CHECKING:
    from pathlib import Path

# --- tune -------------------------------------------------------------------------------------------------------------

TUNED = """
from ultralytics import YOLO
YOLO({model!r}).train(data={data!r}, device={device!r}, imgsz={imgsz}, batch={batch}, workers=12, cache="ram",
    epochs=100, optimizer="SGD", project={project!r}, plots=False, verbose=False, close_mosaic=0)
"""


def tune(kit: Kit, budget: int) -> dict[str, Any]:
    """`yoloscope tune --batch` of a script: what it tried, and peaks of memory, predicted and measured."""
    small = kit.device == "cpu"
    model, imgsz, batch = ("yolo11n.yaml", 64, 4) if small else ("yolo11m.yaml", 640, 16)
    project, images = str(kit.work / "tuned"), str(data.of(CASES["gpu_fed"], kit.work))
    script = kit.work / "train.py"
    script.write_text(
        TUNED.format(model=model, data=images, device=kit.device, imgsz=imgsz, batch=batch, project=project)
    )
    began = time.monotonic()
    text = kit.run(
        *("tune", "--batch", "--allow-changes", "--budget", f"{budget}s", "--", sys.executable, str(script)),
        timeout=budget + 90,
    )
    (kit.out / "tune.txt").write_text(text)
    return {"seconds": round(time.monotonic() - began, 1), "said": text.splitlines()} | peaks(text)


def peaks(said: str) -> dict[str, Any]:
    """GiB by batch: measured by the probes, and predicted before the probe of the largest that fits."""
    measured = {int(batch): float(gib) for gib, batch in re.findall(r"([\d.]+) GiB with (\d+) images", said)}
    predicted = re.findall(r"batch=(\d+).*predicted peak ([\d.]+) GiB", said)
    return {"measured": measured, "predicted": {int(batch): float(gib) for batch, gib in predicted}}


# --- bench ------------------------------------------------------------------------------------------------------------


def bench(kit: Kit, seconds: int) -> dict[str, Any]:
    """`yoloscope bench --half` of what can be run there: its table."""
    file = kit.out / "bench.json"
    half = () if kit.device == "cpu" else ("--half",)
    sizes = ("--imgsz", "64") if kit.device == "cpu" else ()
    options = ("--device", kit.device, "--batch", "1,8,32", "--seconds", f"{seconds}s", "--rounds", "3")
    text = kit.run(
        *("bench", "yolo11n.yaml", "--formats", "pt,torchscript,engine", *half, *sizes, *options),
        *("--json", str(file), "--markdown", str(kit.out / "bench.md")),
        timeout=170,
    )
    (kit.out / "bench.txt").write_text(text)
    if not file.exists():
        return {"error": text[-500:]}
    return {"markdown": (kit.out / "bench.md").read_text().splitlines()}


# --- a hang -----------------------------------------------------------------------------------------------------------

#: Long after the first batch, so that the training is known; a kernel that spins, and whoever reads a result waits.
HANGS = """
import torch
seen = 0
def hang(trainer):
    global seen
    seen += 1
    if seen == 40:
        print("FIRST", flush=True)
        if torch.cuda.is_available():
            torch.cuda._sleep(int({seconds} * 1.8e9))
        else:
            time.sleep({seconds})
model.add_callback("on_train_batch_start", hang)
"""


def hang(kit: Kit, seconds: float = 24.0) -> dict[str, Any]:
    """The stack of a training whose step does not come back from the GPU, by `yoloscope stacks`."""
    case = replace(CASES["gpu_small_batch"], why="a kernel that does not end", script=HANGS.format(seconds=seconds))
    with kit.process() as process:
        kit.prepare()
        kit.order(process, **kit.training("gpu_hang", case))
        kit.wait(process, "FIRST")  # of its batches
        kit.wait(process, "FIRST")  # of the hang
        time.sleep(4.0)
        began = time.monotonic()
        text = kit.run("stacks", "--records", str(kit.records))
    kit.forget()
    (kit.out / "stacks.txt").write_text(text)
    return {"seconds": round(time.monotonic() - began, 1), "said": text.splitlines()[:24]}


# --- predictions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """One way to predict: `right` are the verdicts that must be told, `allowed` those that may be."""

    why: str
    call: str
    right: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()


PREDICTED = """
import time, numpy as np, torch
from ultralytics import YOLO
on = "cpu" if {device!r} == "cpu" else "cuda:" + {device!r}
quiet = dict(device={device!r}, verbose=False, save=False)
image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
tensor = torch.rand(32, 3, 640, 640, device=on)
model = YOLO({model!r})
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    {call}
"""
PREDICTIONS = {
    "predict_single": Prediction(
        "one image a call in FP32: a quick card waits for the host",
        "model(image, **quiet)",
        frozenset({"small_inference_batch"}),
        frozenset({"precision"}),
    ),
    "predict_fp32": Prediction(
        "32 images a call in FP32, tensors on the card: the model takes the time, in the dearer precision",
        "model(tensor, **quiet)",
        frozenset({"precision"}),
    ),
    "predict_half": Prediction("the same in FP16: healthy", "model(tensor.half(), half=True, **quiet)"),
}


def predictions(kit: Kit, seconds: float) -> dict[str, Any]:
    """Predictions beside the exporter, each recorded and judged."""
    return {name: _prediction(kit, name, one, seconds) for name, one in PREDICTIONS.items()}


def _prediction(kit: Kit, name: str, one: Prediction, seconds: float) -> dict[str, Any]:
    model = "yolo11n.yaml" if kit.device == "cpu" or name == "predict_single" else "yolo11l.yaml"
    script = PREDICTED.format(device=kit.device, model=model, seconds=seconds, call=one.call)
    with kit.recording(name) as file:
        text = kit.run("run", "--no-exporter", "--", sys.executable, "-c", script, timeout=seconds + 60)
        (kit.out / f"{name}.txt").write_text(text)
        time.sleep(2)
    kit.forget()
    return judged(kit, file, "", one.right, one.allowed) | predicted(file)


def predicted(recording: Path) -> dict[str, float]:
    """Images per second of the prediction's own time, and what the hooks took of each batch, microseconds."""
    text = gzip.decompress(recording.read_bytes()).decode()
    last = dict(re.findall(r"^(yoloscope_predict_\w+_total{[^}]*}) (\S+)", text, flags=re.MULTILINE))

    def total(name: str) -> float:
        return sum(
            float(value) for series, value in last.items() if series.startswith(f"yoloscope_predict_{name}_total")
        )

    if not total("batches"):
        return {}
    return {
        "images_per_second": total("images") / total("phase_seconds"),
        "hooks_us": total("hook_seconds") * 1e6 / total("batches"),
    }
