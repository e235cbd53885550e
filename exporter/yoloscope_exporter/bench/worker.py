"""What `yoloscope bench` runs in the user's Python: one process that exports a model, or measures one format of it.

It is started by its path, needs nothing of yoloscope, and is told what to do line by line: a JSON object each on
standard input, answered by one each on standard output. What libraries print goes to standard error.

Imports ultralytics (AGPL-3.0), which the exporter itself never does. Python 3.8 and Ultralytics 8.3.9 are enough.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import traceback
from importlib import metadata, util
from pathlib import Path
from typing import Any

#: Tasks whose results can be compared.
TASKS = ("detect", "segment", "pose", "obb", "classify")
#: Images that are compared and measured: of a folder, and made of the two photos that come with Ultralytics.
MOST_IMAGES, OWN_IMAGES = 32, 16
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
#: Scores from which boxes count: Ultralytics' own, and a lower one for their counterparts, which may be just below.
TRAINED = (0.25, 0.2)
#: Random weights have no scores to speak of: boxes of an image that count, and that may be counterparts.
RANDOM_BOXES, RANDOM_COUNTERPARTS = 20, 60
#: From which on these are looked for, until there are enough.
SCORES = tuple(10 ** (-step / 2) for step in range(1, 13))
#: Edge of what is compared of a mask.
MASK = 64
#: Calls and seconds before anything is measured.
WARM_CALLS, WARM_SECONDS = 3, 1.0
GREY = 114


def main() -> None:
    """Answer until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        told = json.loads(line)
        try:
            reply = {"ok": getattr(worker, told.pop("do"))(**told)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an export raises is this format's own error
            traceback.print_exc()
            reply = {"error": in_one_line(error)}
            if isinstance(error, ToldError):
                reply["text"] = error.text
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


class ToldError(ValueError):
    """What somebody has to change: a template and its values, for `yoloscope bench` to tell in any language."""

    def __init__(self, text: tuple[str, dict[str, Any]]) -> None:
        """`text` of the function of this name."""
        template, values = self.text = text
        super().__init__(template.format_map(values))


def text(template: str, **values: Any) -> tuple[str, dict[str, Any]]:
    """A template and its values; the catalogue of translations knows it by this function's name."""
    return template, values


def in_one_line(error: BaseException) -> str:
    """An exception's type and the first line of what it says."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class Worker:
    """One method for each thing that can be asked."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._model: Any = None
        self._options: dict[str, Any] = {}
        self._pool: list[Any] = []
        self._batch, self._place, self._last = 1, 0, 0.0

    # --- before ---------------------------------------------------------------------------------------------------

    def facts(self, modules: list[str], device: str) -> dict[str, Any]:
        """Versions, the GPU that is computed on if any, and which of `modules` can be imported."""
        import torch
        import ultralytics

        told: dict[str, Any] = {
            "versions": {
                "python": sys.version.split()[0],
                "torch": torch.__version__,
                "ultralytics": ultralytics.__version__,
                **versions(modules),
            },
            "modules": [name for name in modules if util.find_spec(name)],
            "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(),
        }
        gpu = chosen(device)
        return told if gpu is None else dict(told, gpu=gpu)

    def prepare(self, model: str, folder: str, imgsz: int, source: str) -> dict[str, Any]:
        """Put the model as a `.pt` file and the images into `folder`."""
        from ultralytics import YOLO

        loaded = YOLO(model)
        if loaded.task not in TASKS:
            tasks = ", ".join(TASKS)
            raise ToldError(
                text("a model for {task!r}: only results of {tasks} can be compared", task=loaded.task, tasks=tasks)
            )
        stride = int(max(getattr(loaded.model, "stride", [32])))
        if imgsz % stride:
            low = imgsz // stride * stride
            either = {"low": low or stride, "high": low + stride}
            raise ToldError(
                text(
                    "--imgsz {imgsz}: this model has stride {stride}: use {low} or {high}",
                    imgsz=imgsz,
                    stride=stride,
                    **either,
                )
            )
        there = Path(folder) / (Path(model).stem + ".pt")
        there.parent.mkdir()
        is_random = Path(model).suffix != ".pt"
        pool, origin = pictures(source, imgsz)
        if is_random:
            enliven(loaded.model, pool[0])
            save(loaded.model, there)
        else:
            shutil.copyfile(model, str(there))
        images = Path(folder) / "images.npy"
        save_images(images, pool)
        return {
            "path": str(there),
            "task": loaded.task,
            "random": is_random,
            "images": str(images),
            "count": len(pool),
            "origin": origin,
            "bytes": there.stat().st_size if is_random else Path(model).stat().st_size,
        }

    def export(self, model: str, folder: str, format: str, arguments: dict[str, Any], half: bool) -> dict[str, Any]:  # noqa: A002 - Ultralytics' name
        """Export the `.pt` file to `folder`: from a copy there, because Ultralytics writes beside it."""
        from ultralytics import YOLO

        copy = Path(folder) / Path(model).name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, str(copy))
        begun = time.perf_counter()
        path = Path(YOLO(str(copy)).export(format=format, **arguments, **precision(half)))
        seconds = time.perf_counter() - begun
        copy.unlink()
        if not path.exists():
            raise ToldError(text("Ultralytics has not written what it names: {path}", path=str(path)))
        files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        return {"path": str(path), "bytes": sum(one.stat().st_size for one in files), "seconds": seconds}

    # --- one format -----------------------------------------------------------------------------------------------

    def load(self, path: str, task: str, images: str, arguments: dict[str, Any], half: bool) -> dict[str, Any]:
        """Load a format and warm it up; `arguments` are those of `predict`."""
        import numpy as np
        from ultralytics import YOLO

        begun = time.perf_counter()
        self._model = YOLO(path, task=task)
        self._options = dict(arguments, save=False, verbose=False, **precision(half))
        self._batch = arguments["batch"]
        self._pool = list(np.load(images))
        self._call()
        seconds, calls = time.perf_counter() - begun, 1
        while calls < WARM_CALLS or time.perf_counter() - begun - seconds < WARM_SECONDS:
            self._call()
            calls += 1
        return {"seconds": seconds, "device": self._device(), "pid": os.getpid()}

    def _device(self) -> str:
        """Where it really computes: Ultralytics goes on with the CPU where a runtime has no CUDA."""
        backend = self._model.predictor.model
        session = getattr(backend, "session", None) or getattr(getattr(backend, "backend", None), "session", None)
        if session is not None and hasattr(session, "get_providers"):
            return "cpu" if session.get_providers()[0] == "CPUExecutionProvider" else "cuda"
        return str(getattr(backend.device, "type", backend.device))

    def detect(self, lower: float) -> list[dict[str, Any]]:
        """What is found in each image, with scores from `lower` on."""
        found: list[dict[str, Any]] = []
        for first in range(0, len(self._pool), self._batch):
            batch = [self._pool[index % len(self._pool)] for index in range(first, first + self._batch)]
            found += map(plain, self._model.predict(batch, conf=lower, **self._options))
        return found[: len(self._pool)]

    def scores(self, random_weights: bool) -> dict[str, Any]:
        """From which scores on boxes count, by image, and may be counterparts; to be asked of the `.pt` model."""
        if self._model.task == "classify" or not random_weights:
            conf, lower = TRAINED
            return {"conf": [conf] * len(self._pool), "lower": lower}
        lower = next(score for score in SCORES if self._finds_enough(score) or score == SCORES[-1])
        ranked = [sorted((box["score"] for box in one["boxes"]), reverse=True) for one in self.detect(lower)]
        least = lower * TRAINED[0] / TRAINED[1]
        return {
            "conf": [max([*scores, 0.0][min(RANDOM_BOXES, len(scores))], least) for scores in ranked],
            "lower": lower,
        }

    def _finds_enough(self, score: float) -> bool:
        """In the first images; with all places as candidates NMS takes seconds, and Ultralytics ends it after two."""
        some = self._model.predict(self._pool[:2], conf=score, **self._options)
        return all(len(plain(one)["boxes"]) >= RANDOM_COUNTERPARTS for one in some)

    def measure(self, seconds: float) -> dict[str, Any]:
        """Call it for `seconds`, once at least: seconds of each call, and of Ultralytics' three stages of all calls."""
        if self._last < seconds / 4:
            self._call()  # others had the caches meanwhile
        calls: list[float] = []
        stages: dict[str, float] = {}
        while not calls or sum(calls) + self._last / 2 < seconds:
            took, speed = self._call()
            calls.append(took)
            for stage, milliseconds in speed.items():
                stages[stage] = stages.get(stage, 0.0) + (milliseconds or 0.0) * self._batch / 1000
        return {"calls": calls, "stages": stages, **memory()}

    def _call(self) -> tuple[float, dict[str, float]]:
        batch = [self._pool[(self._place + index) % len(self._pool)] for index in range(self._batch)]
        self._place = (self._place + self._batch) % len(self._pool)
        begun = time.perf_counter()
        results = self._model.predict(batch, **self._options)
        settle()
        self._last = time.perf_counter() - begun
        return self._last, results[0].speed


# --- Ultralytics and torch --------------------------------------------------------------------------------------------


def chosen(device: str) -> str | None:
    """Name of the GPU that Ultralytics takes for `device`, of the first one without; None where it takes none.

    Some versions choose by CUDA_VISIBLE_DEVICES, which CUDA reads once: nothing may look for a GPU before, and what was
    chosen once in a process stays.
    """
    import torch
    from ultralytics.utils.torch_utils import select_device

    try:
        taken = select_device(device or "0", verbose=False)
    except ValueError:
        if device:
            raise
        return None
    return str(torch.cuda.get_device_name(taken)) if taken.type == "cuda" else None


def precision(half: bool) -> dict[str, Any]:
    """FP16 in the words of this version of Ultralytics."""
    if not half:
        return {}
    from ultralytics.utils import DEFAULT_CFG_DICT

    return {"quantize": 16} if "quantize" in DEFAULT_CFG_DICT else {"half": True}


def enliven(network: Any, image: Any) -> None:
    """Give a network that was never trained outputs that depend on the image.

    Without training activations fade from layer to layer, and only the biases of the last layers are left: what it
    found would be the same everywhere, and prove nothing of a format. So the weights of the last layers are scaled,
    until what they add to their biases has a standard deviation of one.
    """
    import torch

    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
            torch.nn.init.kaiming_normal_(module.weight)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    last = [one for one in network.model[-1].modules() if isinstance(one, kinds) and one.bias is not None]
    hooks = [one.register_forward_hook(_scale) for one in last]
    network.eval()
    with torch.no_grad():
        network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255)
    for hook in hooks:
        hook.remove()


def _scale(layer: Any, _: Any, output: Any) -> None:
    bias = layer.bias.view(-1, *[1] * (output.dim() - 2))
    spread = float((output - bias).std())
    if spread > 0:
        layer.weight.div_(spread)


def save(network: Any, path: Path) -> None:
    """A network that was never trained, as Ultralytics reads it."""
    from copy import deepcopy

    import torch

    torch.save({"model": deepcopy(network).half(), "ema": None, "epoch": -1, "train_args": {}}, str(path))


def settle() -> None:
    """Wait for the GPU."""
    torch = sys.modules["torch"]
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def memory() -> dict[str, int]:
    """Bytes of this process, now and at most, and of torch on the GPU; what cannot be known is left out."""
    told: dict[str, int] = {}
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        for name, key in (("resident", "VmRSS"), ("peak", "VmHWM")):
            if key in lines:
                told[name] = int(lines[key].split()[0]) * 1024
    cuda = sys.modules["torch"].cuda
    if cuda.is_initialized() and cuda.max_memory_reserved():
        told["torch_resident"], told["torch_peak"] = cuda.memory_reserved(), cuda.max_memory_reserved()
    return told


def versions(modules: list[str]) -> dict[str, str]:
    """Of those that are installed under a name like that."""
    found = {}
    for module in modules:
        for name in (module, module + "-gpu", module + "_cu12"):
            try:
                found[module] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def plain(result: Any) -> dict[str, Any]:
    """One image's result: probabilities, or boxes with their class, score, corners, key points and mask."""
    if result.probs is not None:
        return {"probabilities": result.probs.data.float().cpu().tolist()}
    result = result.cpu()
    rotated = result.obb is not None
    boxes = result.obb if rotated else result.boxes
    corners = boxes.xyxyxyxy.flatten(1) if rotated else boxes.xyxy
    found = [
        {"class": int(label), "score": float(score), "corners": [float(one) for one in corner]}
        for label, score, corner in zip(boxes.cls, boxes.conf, corners)
    ]
    if result.keypoints is not None and result.keypoints.xy.numel():
        for box, points in zip(found, result.keypoints.xy):
            box["points"] = points.flatten().tolist()
    if result.masks is not None:
        for box, mask in zip(found, result.masks.data):
            box["mask"] = bits(mask)
    return {"boxes": found}


def bits(mask: Any) -> str:
    """A mask of MASK x MASK points as a hexadecimal number."""
    import numpy as np

    rows, columns = (np.linspace(0, length - 1, MASK).astype(int) for length in mask.shape)
    return np.packbits(mask.numpy()[rows][:, columns] > 0).tobytes().hex()


# --- images -----------------------------------------------------------------------------------------------------------


def pictures(source: str, size: int) -> tuple[list[Any], str]:
    """Square images of the size, and where they are from: the user's folder, Ultralytics' photos, else drawn."""
    import cv2
    from ultralytics.utils import ASSETS

    folder = Path(source or ASSETS)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if source:
        step = max(len(files) / MOST_IMAGES, 1)
        files = [files[int(index * step)] for index in range(min(len(files), MOST_IMAGES))]
    read = [image for image in (cv2.imread(str(path)) for path in files) if image is not None]
    if source and not read:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise ToldError(
            text("--source {source}: no image that can be read ({suffixes})", source=source, suffixes=suffixes)
        )
    if source:
        return [squared(image, size) for image in read], source
    dice = random.Random(0)  # noqa: S311 - the same images each time
    if read:
        return [squared(cut(read[index % len(read)], dice), size) for index in range(OWN_IMAGES)], "Ultralytics' photos"
    return [drawn(size, dice) for _ in range(OWN_IMAGES)], "drawn"


def squared(image: Any, size: int) -> Any:
    """Scaled to fit, grey around it: so every format gets what Ultralytics would make of it, and the same shape."""
    import cv2
    import numpy as np

    scale = size / max(image.shape[:2])
    height, width = (max(round(length * scale), 1) for length in image.shape[:2])
    whole: Any = np.full((size, size, 3), GREY, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    whole[top : top + height, left : left + width] = cv2.resize(image, (width, height))
    return whole


def cut(photo: Any, dice: random.Random) -> Any:
    """A part of it with 60 % to 100 % of its edges, mirrored every other time."""
    height, width = photo.shape[:2]
    share = dice.uniform(0.6, 1.0)
    tall, wide = int(height * share), int(width * share)
    top, left = dice.randint(0, height - tall), dice.randint(0, width - wide)
    part = photo[top : top + tall, left : left + wide]
    return part[:, ::-1].copy() if dice.random() < 0.5 else part  # noqa: PLR2004 - one half


def drawn(size: int, dice: random.Random) -> Any:
    """Rectangles on noise."""
    import numpy as np

    image = np.random.default_rng(dice.randrange(2**32)).integers(0, 255, (size, size, 3), np.uint8)
    for _ in range(6):
        top, left = dice.randrange(size), dice.randrange(size)
        image[top : top + size // 4, left : left + size // 4] = [dice.randrange(256) for _ in range(3)]
    return image


def save_images(path: Path, pool: list[Any]) -> None:
    """For the processes that measure."""
    import numpy as np

    np.save(str(path), np.stack(pool))


if __name__ == "__main__":
    main()
