"""Real, tiny Ultralytics trainings on the CPU, for tests: data set, trainer, and the process that runs it.

    data = make_dataset(tmp_path / "data", images=16, size=64)
    done = train(data, tmp_path / "runs", epochs=2, workers=2)      # a finished subprocess, records in $YOLOSCOPE_DIR
    process = start(data, tmp_path / "runs", image_sleep=0.1)       # the same, still running

Nothing is downloaded: the model is built from its YAML, fonts and AMP checks are out of the way. Run as a program, this
file is the training script; `cpu_trainer.py` beside it lifts what Ultralytics does not do on a CPU (loader workers, two
ranks) and adds the delays a test asks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("8.3.9", "8.4.2", "newest")
MODELS = {
    "detect": "yolo11n.yaml",
    "segment": "yolo11n-seg.yaml",
    "classify": "yolo11n-cls.yaml",
    "pose": "yolo11n-pose.yaml",
    "obb": "yolo11n-obb.yaml",
}
#: Tasks that only later releases know.
LATER = {"semantic": "yolo26n-sem.yaml", "depth": "yolo26n-depth.yaml"}
#: A detector whose steps take nearly nothing.
TINY = str(ROOT / "tests" / "tiny.yaml")
#: Nothing to download, nothing to draw; SGD, because some versions load half of torch for their own optimizer.
DEFAULTS = {"device": "cpu", "amp": False, "plots": False, "verbose": False, "optimizer": "SGD", "close_mosaic": 0}


@dataclass(frozen=True)
class Options:
    """One training. `hooks`: `attach` calls yoloscope_hooks.attach, `run` goes through `yoloscope run --`, `none`."""

    data: str
    project: str
    name: str = "test"
    task: str = "detect"
    model: str = ""  # else the smallest one of the task
    epochs: int = 1
    batch: int = 4
    imgsz: int = 32
    workers: int = 0
    ranks: int = 1
    seed: int = 0
    hooks: str = "attach"
    torchrun: bool = False  # else ranks are started by Ultralytics
    start_method: str = ""  # of loader workers: fork, forkserver, spawn
    image_sleep: float = 0.0  # seconds of waiting per image, as slow storage would
    image_work: float = 0.0  # seconds of computing per image, as heavy augmentation would
    slow_worker: int = -1  # only this worker is slowed by the two above
    step_sleep: float = 0.0  # seconds of waiting in each forward pass
    slow_rank: int = -1  # only this rank is slowed by step_sleep
    script: str = ""  # Python run before training, with `model`, `options` and `losses` in scope
    everywhere: str = ""  # Python run in each process that trains, ranks too, with the trainers in scope
    arguments: dict[str, Any] = field(default_factory=dict)  # further arguments of model.train


def make_dataset(path: Path, *, images: int = 16, size: int = 64, task: str = "detect", classes: int = 2) -> Path:
    """Write `images` training images and half as many for validation; return what `data=` takes."""
    generator = random.Random(0)
    for split, count in (("train", images), ("val", max(images // 2, 1))):
        for index in range(count):
            low, high = sorted(generator.sample(range(size // 8, size - size // 8), 2))
            box = (low, max(high, low + size // 8))
            _write_image(path / _folder(task, split, index % classes) / f"{index:04d}.jpg", size, box, index % classes)
            if task in LATER:
                _write_target(path, f"{split}/{index:04d}.png", task, size, box)
            elif task != "classify":
                annotation = f"{index % classes} {_annotation(task, box[0] / size, box[1] / size)}\n"
                _write(path / "labels" / split / f"{index:04d}.txt", annotation)
    if task == "classify":
        return path
    content = {
        "path": str(path.resolve()),
        "train": "images/train",
        "val": "images/val",
        "names": {index: f"class{index}" for index in range(classes)},
    }
    if task == "pose":
        content["kpt_shape"] = [2, 2]
    if task == "semantic":
        content["masks_dir"] = "masks"
    yaml = path / "data.yaml"
    yaml.write_text(json.dumps(content))  # JSON is YAML
    return yaml


def _folder(task: str, split: str, label: int) -> str:
    return f"{split}/class{label}" if task == "classify" else f"images/{split}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_image(path: Path, size: int, box: tuple[int, int], label: int) -> None:
    import cv2  # noqa: PLC0415 - comes with ultralytics, which not every test run has
    import numpy as np  # noqa: PLC0415

    image = np.full((size, size, 3), 60, np.uint8)
    cv2.rectangle(image, (box[0], box[0]), (box[1], box[1]), (255, 90, 0) if label else (0, 90, 255), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _write_target(path: Path, name: str, task: str, size: int, box: tuple[int, int]) -> None:
    """The class of each pixel, or its distance in millimetres."""
    import cv2  # noqa: PLC0415 - as above
    import numpy as np  # noqa: PLC0415

    folder, kind, far, near = ("masks", np.uint8, 0, 1) if task == "semantic" else ("depth", np.uint16, 5000, 2000)
    target = np.full((size, size), far, kind)
    target[box[0] : box[1], box[0] : box[1]] = near
    file = path / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), target)


def _annotation(task: str, low: float, high: float) -> str:
    box = ((low + high) / 2, (low + high) / 2, high - low, high - low)
    corners = (low, low, high, low, high, high, low, high)
    values = {"detect": box, "segment": corners, "obb": corners, "pose": (*box, low, low, high, high)}[task]
    return " ".join(f"{value:.4f}" for value in values)


def train(data: Path, project: Path, *, version: str = "newest", timeout: float = 170, **options: Any) -> Finished:
    """Run a training to its end; `options` are those of Options."""
    from tests import forked  # noqa: PLC0415 - not there where this file is the program

    if forked.POSSIBLE and not options.keys() & {"environ", "torchrun"} and options.get("hooks") != "run":
        return _train_forked(Options(data=str(data), project=str(project), **options), version, timeout)
    process = start(data, project, version=version, **options)
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        _too_long(timeout, out)
    return Finished(process.returncode, out)


def _too_long(timeout: float, output: str) -> NoReturn:
    import pytest  # noqa: PLC0415 - a training does not need it

    pytest.fail(f"the training took longer than {timeout} s:\n{output}")


def _train_forked(options: Options, version: str, timeout: float) -> Finished:
    from tests import forked  # noqa: PLC0415 - not there where this file is the program

    project = Path(options.project)
    with tempfile.TemporaryFile("w+") as output:
        command = [str(Path(__file__).resolve()), json.dumps(asdict(options))]
        environ = environment(project, version)
        with forked.running(version, command, environ, Path.cwd(), output=output.fileno()) as child:
            try:
                code = child.wait(timeout)
            except TimeoutError:
                output.seek(0)
                _too_long(timeout, output.read())
        output.seek(0)
        return Finished(code, output.read())


@dataclass(frozen=True)
class Finished:
    """A training that has ended."""

    code: int
    output: str  # standard output and standard error together

    def result(self) -> dict[str, Any]:
        """What the training script said at its end: `losses` per batch, `batches`, `version`."""
        line = next((line for line in self.output.splitlines() if line.startswith("RESULT ")), None)
        assert line, self.output
        return dict(json.loads(line.removeprefix("RESULT ")))


def start(
    data: Path,
    project: Path,
    *,
    version: str = "newest",
    environ: dict[str, str] | None = None,
    log: Path | None = None,
    prefix: Sequence[str] = (),
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a training in its own process group; a long one writes to `log`, because nobody empties its pipe.

    `prefix` comes before the command: taskset, nice.
    """
    chosen = Options(data=str(data), project=str(project), **options)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={chosen.ranks}"]
    script = [str(Path(__file__).resolve()), json.dumps(asdict(chosen))]
    command = [sys.executable, *(launcher if chosen.torchrun else []), *script]
    if chosen.hooks == "run":
        command = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--", *command]
    with contextlib.nullcontext(subprocess.PIPE) if log is None else log.open("w") as output:
        return subprocess.Popen(
            [*prefix, *command],
            env=environment(project, version) | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def environment(project: Path, version: str = "newest") -> dict[str, str]:
    """The environment of a training that leaves nothing outside `project` and asks no server for anything."""
    config = project.parent / "ultralytics-config"
    _settle(config)
    paths = [str(ROOT / part) for part in ("exporter", "trainer_hooks", "tests")]
    if version != "newest":
        paths.insert(0, str(installed(version)))
    quiet = {
        "YOLO_CONFIG_DIR": str(config),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "OMP_NUM_THREADS": "1",
    }
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("YOLOSCOPE_", "COV_", "PYTEST"))}
    kept = {name: os.environ[name] for name in ("YOLOSCOPE_DIR", "YOLOSCOPE_LANGUAGE") if name in os.environ}
    programs = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])  # the tuner calls `yolo`
    return environ | quiet | kept | {"PYTHONPATH": os.pathsep.join(paths), "PATH": programs}


def _settle(config: Path) -> None:
    """Give Ultralytics the fonts it would download otherwise, under both folders that versions look in."""
    import pytest  # noqa: PLC0415 - a training does not need it

    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra train: make test installs it")
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for folder in (config, config / "Ultralytics"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Arial.ttf", "Arial.Unicode.ttf"):
            if not (folder / name).exists():
                shutil.copy(font, folder / name)


def installed(version: str) -> Path:
    """The folder of one released Ultralytics, installed into `.cache/ultralytics` without its dependencies.

    Where it cannot be had the test is skipped, or fails where CI is set.
    """
    target = ROOT / ".cache" / "ultralytics" / version
    if not (target / "ultralytics" / "__init__.py").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        done = subprocess.run([*command, f"ultralytics=={version}"], capture_output=True, text=True, check=False)
        if done.returncode:
            import pytest  # noqa: PLC0415 - a training does not need it

            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no ultralytics {version}: {done.stderr[-300:]}")
    return target


def main(options: Options) -> None:
    """The training process."""
    os.environ["CPU_TRAINER"] = json.dumps(asdict(options))  # ranks inherit it
    import cpu_trainer  # noqa: PLC0415 - needs ultralytics
    import ultralytics  # noqa: PLC0415

    model = ultralytics.YOLO(options.model or {**MODELS, **LATER}[options.task])
    if options.hooks == "attach":
        import yoloscope_hooks  # noqa: PLC0415

        model = yoloscope_hooks.attach(model)
    losses: list[float] = []
    if options.ranks == 1:
        model.add_callback("on_train_batch_end", lambda trainer: losses.append(float(trainer.loss)))
    exec(options.script, {**globals(), **locals()})
    model.train(
        trainer=cpu_trainer.TRAINERS[options.task],
        data=options.data,
        project=options.project,
        name=options.name,
        epochs=options.epochs,
        batch=options.batch,
        imgsz=options.imgsz,
        seed=options.seed,
        **{**DEFAULTS, **options.arguments},
    )
    print("RESULT " + json.dumps({"losses": losses, "batches": len(losses), "version": ultralytics.__version__}))


if __name__ == "__main__":
    main(Options(**json.loads(sys.argv[1])))
