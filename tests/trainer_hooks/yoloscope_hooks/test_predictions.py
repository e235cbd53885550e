"""Real predictions, validations and exports, recorded: what is in the records is what happened."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.collectors.run_samples import prediction
from yoloscope_exporter.recordings.postmortem import everybody
from yoloscope_record import catalog, paths
from yoloscope_record.metrics import HistogramValue
from yoloscope_record.reader import Reader, Record

from tests import forked
from tests.training import MODELS, VERSIONS, environment, make_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from yoloscope_exporter.catalog import Sample

pytestmark = pytest.mark.train

FULL = os.environ.get("YOLOSCOPE_MATRIX") == "1"
#: Before the script: a model without weights to load. `stage` lets the test read the records, which are being written.
PRELUDE = """
import os, sys, threading, time
import numpy as np
if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid
from ultralytics import YOLO
ATTACH
images, data = sys.argv[1], sys.argv[2]
here = dict(project=os.path.abspath("runs"))  # else it is beside Ultralytics
quiet = dict(imgsz=64, device="cpu", verbose=False, save=False, conf=0.001, **here)

def model_of(name):
    model = YOLO(name)
    return yoloscope_hooks.attach(model) if "yoloscope_hooks" in globals() else model

def stage(name):
    print("STAGE", name, flush=True)
    sys.stdin.readline()
"""


@dataclass(frozen=True)
class Done:
    """A process that predicted: its records at each stage and at the end, by file name."""

    stages: Mapping[str, Mapping[str, Record]]
    code: int
    output: str

    def values(self, stage: str, name: str = "predict-0.rec") -> dict[str, Any]:
        """Values of a record by the metric's name without its prefix; phases by theirs."""
        samples = self.stages[stage][name].samples
        plain = {s.metric.name.removeprefix("yoloscope_predict_"): s.value for s in samples if len(s.labels) == 2}
        phases = {s.labels[2]: s.value for s in samples if s.metric is catalog.PREDICT_PHASE_SECONDS_TOTAL}
        return {**plain, **{f"{phase}_phase": seconds for phase, seconds in phases.items()}}


def predict(script: str, folder: Path, *, version: str = "newest", hooks: str = "attach", timeout: float = 170) -> Done:
    """Run a script in a process of its own, with the hooks by `attach` or by `run`."""
    data = make_dataset(folder / "data", images=10)
    program = folder / "program.py"
    program.write_text(PRELUDE.replace("ATTACH", "import yoloscope_hooks" if hooks == "attach" else "") + script)
    command = [str(program), str(folder / "data" / "images" / "train"), str(data)]
    stages, lines = {}, []
    with _started(command, folder, version, hooks) as (stdin, stdout, wait):
        for line in stdout:
            lines.append(line)
            if line.startswith("STAGE "):
                stages[line.split()[1]] = _records()
                stdin.write("\n")
                stdin.flush()
        code = wait(timeout)
    output = "".join(lines)
    assert "yoloscope:" not in output, output
    return Done({**stages, "end": _records()}, code, output)


@contextmanager
def _started(
    command: list[str], folder: Path, version: str, hooks: str
) -> Iterator[tuple[IO[str], IO[str], Callable[[float], int]]]:
    """Standard input and output of the process, errors included, and how to wait for its exit code."""
    source, stdin = os.pipe()
    stdout, output = os.pipe()
    environ = environment(folder / "runs", version)
    with ExitStack() as stack:
        if hooks == "attach" and forked.POSSIBLE:
            child = forked.running(version, command, environ, folder, source=source, output=output)
            wait: Callable[[float], int] = stack.enter_context(child).wait
        else:
            run = ["-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--", sys.executable]
            command = [sys.executable, *(run if hooks == "run" else []), *command]
            process = subprocess.Popen(
                command, env=environ, cwd=folder, stdin=source, stdout=output, stderr=subprocess.STDOUT
            )
            wait = stack.enter_context(process).wait
        os.close(source)
        os.close(output)
        with open(stdin, "w") as to, open(stdout) as of:  # noqa: PTH123 - descriptors
            yield to, of, wait


def _records() -> dict[str, Record]:
    base = Path(os.environ["YOLOSCOPE_DIR"])
    found = sorted(base.glob("**/*.rec"))
    several = len({path.name for path in found}) < len(found)  # of several processes
    return {str(path) if several else path.name: Reader(path).read() for path in found}


WAYS = """
model = model_of("yolo11n.yaml")
model(images, batch=4, **quiet)
stage("files")
one = np.zeros((64, 64, 3), np.uint8)
for _ in range(20):
    model(one, **quiet)
stage("singles")
generator = model(images, stream=True, **quiet)
next(generator); next(generator)
generator.close()
stage("dropped")
import cv2
writer = cv2.VideoWriter("made.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
for index in range(12):
    writer.write(np.full((64, 64, 3), 20 * index, np.uint8))
writer.release()
for result in model("made.avi", stream=True, **quiet):
    time.sleep(0.005)
stage("video")
try:
    model("no-such-folder/*.jpg", **quiet)
except FileNotFoundError:
    pass
stage("missing")
other = model_of("yolo11n.yaml")
def work(model):
    for _ in range(5):
        model(one, **quiet)
threads = [threading.Thread(target=work, args=(chosen,)) for chosen in (model, other)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.parametrize(
    ("version", "hooks"),
    [(version, hooks) for version in VERSIONS for hooks in ("attach", "run")]
    if FULL
    else [("8.3.9", "attach"), pytest.param("8.4.2", "run", marks=pytest.mark.long), ("newest", "run")],
)
def test_ways_to_predict(tmp_path: Path, version: str, hooks: str) -> None:
    """Files, single images, a dropped generator, a video, a source that is not there, two threads: one record."""
    done = predict(WAYS, tmp_path, version=version, hooks=hooks)
    assert done.code == 0, done.output
    assert {name for records in done.stages.values() for name in records} == {"predict-0.rec"}
    files = done.values("files")
    assert (files["calls_total"], files["batches_total"], files["images_total"]) == (1, 3, 10)
    assert files["under_way"] == 0
    assert files["inference_phase"] > 0
    assert files["source_phase"] > 0
    singles = done.values("singles")
    assert (singles["calls_total"], singles["batches_total"], singles["images_total"]) == (21, 23, 30)
    dropped = done.values("dropped")
    assert (dropped["calls_total"], dropped["under_way"]) == (22, 0)
    video = done.values("video")
    assert video["images_total"] == dropped["images_total"] + 12
    assert video["user_phase"] - dropped["user_phase"] > 12 * 0.005
    told = done.stages["video"]["predict-0.rec"].facts
    assert (told["source"], told["stream"], told["saves"]) == ("video", "True", "none")
    assert done.values("missing")["under_way"] == 0
    end, record = done.values("end"), done.stages["end"]["predict-0.rec"]
    assert end["images_total"] == video["images_total"] + 10
    assert end["abandoned_total"] == 1
    assert end["under_way"] == 0
    assert isinstance(end["image_seconds"], HistogramValue)
    assert sum(end["image_seconds"].counts) == end["images_total"] - 4 - 1  # two predictors have warmed up
    assert (record.state, record.alive, record.facts["format"], record.facts["task"]) == (
        "finished",
        False,
        "pt",
        "detect",
    )
    assert record.facts["ultralytics"]


SOURCES = """
import os
import ultralytics.data.loaders as loaders
model = model_of("yolo11n.yaml")
model(np.zeros((64, 64, 3), np.uint8), **quiet)
os.makedirs("empty")
for source in ("empty", [], "no-such.mp4", "http://127.0.0.1:9/gone.jpg", "rtsp://127.0.0.1:9/closed"):
    try:
        print("ANSWERED", len(model(source, **quiet)))
    except Exception as error:
        print("REFUSED", type(error).__name__)
stage("empty")
import shutil
shutil.copytree(images, "mixed")
with open("mixed/0005.jpg", "wb") as file:
    file.write(b"no image")
try:
    print("ANSWERED", len(model("mixed", **quiet)))
except Exception as error:
    print("REFUSED", type(error).__name__)
stage("mixed")
with open("broken.jpg", "wb") as file:
    file.write(b"no image")
try:
    model(["broken.jpg", images + "/0000.jpg"], **quiet)
except Exception as error:
    print("REFUSED", type(error).__name__)
stage("broken")
place = loaders if hasattr(loaders, "imread") else loaders.cv2
read, seen, come, go_on = place.imread, [], threading.Event(), threading.Event()
def fails(*args, **kwargs):
    seen.append(args)
    if len(seen) == 3:
        raise OSError("the file system is gone")
    return read(*args, **kwargs)
place.imread = fails
try:
    model(images, **quiet)
except OSError as error:
    print("RAISED", error)
stage("failed")
def blocks(*args, **kwargs):
    come.set()
    go_on.wait()
    return read(*args, **kwargs)
place.imread = blocks
thread = threading.Thread(target=model, args=(images,), kwargs=quiet)
thread.start()
come.wait()
stage("blocked")
go_on.set()
thread.join()
"""


@pytest.mark.parametrize("version", ["newest", pytest.param("8.3.9", marks=pytest.mark.long)])
def test_sources_that_are_bad(tmp_path: Path, version: str) -> None:
    """Empty, broken, failing in the middle, blocking: what was predicted counts, and nothing stays under way."""
    done = predict(SOURCES, tmp_path, version=version)
    assert done.code == 0, done.output
    assert "RAISED the file system is gone" in done.output
    assert done.values("empty")["images_total"] == 1
    mixed = done.values("mixed")
    assert (mixed["under_way"], mixed["calls_total"]) == (0, done.values("empty")["calls_total"] + 1)
    assert mixed["images_total"] == 1 + 9  # the tenth is left out
    failed, blocked, end = (done.values(stage) for stage in ("failed", "blocked", "end"))
    assert failed["images_total"] == done.values("broken")["images_total"] + 2
    assert [values["under_way"] for values in (done.values("empty"), done.values("broken"), failed)] == [0, 0, 0]
    assert (blocked["under_way"], blocked["calls_total"]) == (1, failed["calls_total"] + 1)
    assert blocked["images_total"] == failed["images_total"]
    assert (end["under_way"], end["images_total"]) == (0, failed["images_total"] + 10)
    assert done.stages["end"]["predict-0.rec"].state == "finished"


TRACKER = """
model = model_of("yolo11n.yaml")
for _ in model.track(images, stream=True, tracker="bytetrack.yaml", **quiet):
    pass
stage("tracked")
def callback(predictor):
    time.sleep(0.02)
model.add_callback("on_predict_postprocess_end", callback)
for _ in model.track(images, stream=True, tracker="bytetrack.yaml", **quiet):
    pass
"""


@pytest.mark.parametrize("version", VERSIONS if FULL else ["newest"])
def test_trackers_are_callbacks(tmp_path: Path, version: str) -> None:
    """A tracker, and a callback that comes after ours, count as callbacks, not as the model or as the user."""
    pytest.importorskip("lap", reason="Ultralytics' trackers need it")
    done = predict(TRACKER, tmp_path, version=version)
    assert done.code == 0, done.output
    first, both = done.values("tracked"), done.values("end")
    assert first["callbacks_phase"] > 0
    assert both["callbacks_phase"] - first["callbacks_phase"] >= 10 * 0.02
    assert both["images_total"] == 20


OTHERS = """
model = model_of("yolo11n.yaml")
model.val(data=data, imgsz=64, batch=2, device="cpu", plots=False, verbose=False, **here)
stage("validated")
model.export(format="torchscript", imgsz=64, device="cpu")
stage("exported")
trained = model_of("yolo11n.yaml")
def look(trainer):
    YOLO("yolo11n.yaml")(images, **quiet)
    if "yoloscope_hooks" in globals():
        model(images, **quiet)
trained.add_callback("on_train_epoch_end", look)
trained.train(data=data, epochs=2, batch=4, imgsz=32, device="cpu", amp=False, plots=False, verbose=False, workers=0,
              optimizer="SGD", **here)
"""


@pytest.mark.parametrize("version", VERSIONS if FULL else [pytest.param("8.3.9", marks=pytest.mark.long), "newest"])
def test_validation_export_and_a_training_beside(tmp_path: Path, version: str) -> None:
    """Each kind has its record; what a training validates is the training's, and predictions do not disturb it."""
    done = predict(OTHERS, tmp_path, version=version)
    assert done.code == 0, done.output
    validated = done.values("validated", "validate-0.rec")
    assert validated["images_total"] == 5
    assert validated["batches_total"] == 3
    parts = {name for name, value in validated.items() if name.endswith("_phase") and value > 0}
    assert {"source_phase", "preprocess_phase", "inference_phase", "postprocess_phase", "metrics_phase"} <= parts
    assert validated["under_way"] == 0
    exported = done.stages["exported"]["export-0.rec"]
    told = {s.metric.name: (s.labels[2:], s.value) for s in exported.samples}
    assert told["yoloscope_export_seconds"][0] == ("torchscript",)
    (artefact,) = tmp_path.glob("*.torchscript")
    assert told["yoloscope_export_artefact_bytes"][1] == artefact.stat().st_size
    assert exported.facts["format"] == "torchscript"
    end = done.stages["end"]
    assert end.keys() == {"validate-0.rec", "export-0.rec", "predict-0.rec", "rank-0.rec"}
    assert done.values("end", "validate-0.rec")["images_total"] == 5  # none of the training's
    training = {s.metric.name: s.value for s in end["rank-0.rec"].samples if len(s.labels) == 2}
    assert end["rank-0.rec"].state == "finished"
    assert training["yoloscope_train_batches_total"] == 6
    assert training["yoloscope_train_hook_errors_total"] == 0
    parts = {s.labels[2]: s.value for s in end["rank-0.rec"].samples if "validate_seconds" in s.metric.name}
    assert all(parts[part] > 0 for part in ("loader", "preprocess", "inference", "postprocess", "metrics"))
    (validate,) = [s.value for s in end["rank-0.rec"].samples if s.labels[2:] == ("validate",)]
    assert sum(parts.values()) <= validate
    looked = done.values("end")
    assert looked["images_total"] >= 20
    assert looked.get("user_phase", 0.0) < 0.2 * looked["idle_phase"]  # to train is no code between two calls
    assert {record.state for record in end.values()} == {"finished"}


WATCHED = """
yoloscope_hooks.enable()
validate = dict(data=data, imgsz=64, batch=2, device="cpu", plots=False, verbose=False, **here)
model, other = YOLO("yolo11n.yaml"), YOLO("yolo11n.yaml")
model(images, batch=4, **quiet)
stage("predicted")
if TRACKS:
    for _ in model.track(images, stream=True, tracker="bytetrack.yaml", **quiet):
        pass
stage("tracked")
YOLO("yolo11n.yaml").val(**validate)
stage("validated")
model.export(format="torchscript", imgsz=64, device="cpu")
stage("exported")
def work(model):
    for _ in range(5):
        model(np.zeros((64, 64, 3), np.uint8), **quiet)
threads = [threading.Thread(target=work, args=(chosen,)) for chosen in (model, other)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
stage("threads")
trained = YOLO("yolo11n.yaml")
trained.add_callback("on_train_epoch_end", lambda trainer: other(images, **quiet))
trained.train(data=data, epochs=2, batch=4, imgsz=32, device="cpu", amp=False, plots=False, verbose=False, workers=0,
              optimizer="SGD", **here)
"""
EVERY_VERSION = [
    version if FULL or version == "newest" else pytest.param(version, marks=pytest.mark.long) for version in VERSIONS
]


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_everything_in_a_process_is_watched(tmp_path: Path, version: str) -> None:
    """`enable()`: nothing is attached, and each mode has its record: what was done in it, and nothing of the others."""
    tracks = version == "newest" and importlib.util.find_spec("lap") is not None  # older ones need scipy
    done = predict(WATCHED.replace("TRACKS", str(tracks)), tmp_path, version=version)
    assert done.code == 0, done.output
    images = [done.values(stage)["images_total"] for stage in ("predicted", "tracked", "exported", "threads", "end")]
    tracked = 10 + 10 * tracks
    assert images == [10, tracked, tracked, tracked + 10, tracked + 30]
    assert done.stages["tracked"]["predict-0.rec"].facts["mode"] == ("track" if tracks else "predict")
    assert done.stages["predicted"].keys() == {"predict-0.rec"}
    assert done.stages["validated"].keys() == {"predict-0.rec", "validate-0.rec"}
    end = done.stages["end"]
    assert {name: record.state for name, record in end.items()} == dict.fromkeys(
        ("predict-0.rec", "validate-0.rec", "export-0.rec", "rank-0.rec"), "finished"
    )
    assert done.values("end", "validate-0.rec")["images_total"] == 5  # the training's are its own
    assert done.values("end", "export-0.rec")["calls_total"] == 1
    assert [done.values("end", f"{kind}-0.rec")["under_way"] for kind in catalog.PREDICTIONS] == [0, 0, 0]
    training = {s.metric.name: s.value for s in end["rank-0.rec"].samples if len(s.labels) == 2}
    assert training["yoloscope_train_batches_total"] == 6
    assert training["yoloscope_train_hook_errors_total"] == 0


UNFINISHED = """
yoloscope_hooks.enable()
model = YOLO("yolo11n.yaml")
generator = model(images, stream=True, **quiet)
taken = [next(generator), next(generator)]
stage("open")
model.val(data=data, imgsz=64, batch=2, device="cpu", plots=False, verbose=False, **here)
stage("validated")
taken.append(next(generator))
YOLO("yolo11n.yaml").train(data=data, epochs=1, batch=4, imgsz=32, device="cpu", amp=False, plots=False, verbose=False,
                           workers=0, optimizer="SGD", **here)
stage("trained")
taken += generator
print("TAKEN", len(taken), len({result.path for result in taken}))
"""


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_a_validation_and_a_training_while_results_wait(tmp_path: Path, version: str) -> None:
    """Of a generator that is not finished: three runs, each with what is its own, and the prediction goes on."""
    done = predict(UNFINISHED, tmp_path, version=version)
    assert done.code == 0, done.output
    assert "TAKEN 10 10" in done.output
    for stage, taken in (("open", 2), ("validated", 2), ("trained", 3)):
        record, seen = done.stages[stage]["predict-0.rec"], done.values(stage)
        assert (record.state, record.alive) == ("predict", True), stage
        assert (seen["under_way"], seen["calls_total"]) == (1, 1), stage
        assert taken - 1 <= seen["images_total"] <= taken, stage  # the last may come with what follows
    validated = done.stages["validated"]["validate-0.rec"]
    assert (validated.state, validated.alive) == ("validate", True)
    assert done.values("validated", "validate-0.rec")["images_total"] == 5
    assert done.values("validated", "validate-0.rec")["under_way"] == 0
    assert done.stages["trained"]["rank-0.rec"].state == "finished"
    end = done.values("end")
    assert (end["under_way"], end["calls_total"], end["images_total"]) == (0, 1, 10)
    assert end.get("abandoned_total", 0.0) == 0
    assert end.get("user_phase", 0.0) < 0.2 * end["idle_phase"]  # what has a record of its own is no code of the user's
    assert done.values("end", "validate-0.rec")["images_total"] == 5
    assert {record.state for record in done.stages["end"].values()} == {"finished"}


STOPPED = """
import cv2, signal
class Camera:
    open = isOpened = grab = lambda *_: True
    def __init__(self, *_):
        pass
    def get(self, what):
        return {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 64, cv2.CAP_PROP_FPS: 30}.get(what, 0)
    def retrieve(self):
        time.sleep(0.02)
        return True, np.zeros((64, 64, 3), np.uint8)
    read = retrieve
    def release(self):
        pass
cv2.VideoCapture = Camera
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests may ignore it
for index, _ in enumerate(model_of("yolo11n.yaml")("0", stream=True, **quiet)):
    if index >= 7:
        os.kill(os.getpid(), signal.NAME)
"""


@pytest.mark.parametrize("version", EVERY_VERSION)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_camera_that_is_stopped(tmp_path: Path, name: str, version: str) -> None:
    """By Ctrl-C, or by SIGTERM: no failure and no kill, and the process dies of the signal as it did before."""
    done = predict(STOPPED.replace("NAME", name), tmp_path, version=version)
    assert done.code == -getattr(signal, name), done.output
    (record,) = done.stages["end"].values()
    assert record.facts["source"] == "camera"
    assert done.values("end")["images_total"] >= 4  # of eight the last may not have been written
    (written,) = [s.labels[2] for s in everybody(paths.directory()).samples if _is_state(s) and s.value]
    assert written == "stopped"


CALLED = """
model = model_of("yolo11n.yaml")
def slow(validator):
    time.sleep(0.05)
for event in ("on_val_batch_start", "on_val_batch_end"):
    model.add_callback(event, slow)
model.val(data=data, imgsz=64, batch=1, device="cpu", plots=False, verbose=False, **here)
stage("validated")
model.train(data=data, epochs=2, batch=4, imgsz=32, device="cpu", amp=False, plots=False, verbose=False, workers=0,
            optimizer="SGD", **here)
"""


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_callbacks_of_a_validation(tmp_path: Path, version: str) -> None:
    """They are no loading: on its own a phase of their own, in a training among its callbacks."""
    done = predict(CALLED, tmp_path, version=version)
    assert done.code == 0, done.output
    seen = done.values("validated", "validate-0.rec")
    assert seen["callbacks_phase"] >= 2 * 5 * 0.05
    assert seen["source_phase"] + seen["metrics_phase"] + seen["other_phase"] < seen["callbacks_phase"]
    samples = done.stages["end"]["rank-0.rec"].samples
    parts = {s.labels[2]: s.value for s in samples if s.metric is catalog.TRAIN_VALIDATE_SECONDS_TOTAL}
    phases = {s.labels[2]: s.value for s in samples if s.metric is catalog.TRAIN_PHASE_SECONDS_TOTAL}
    assert "callbacks" not in parts
    assert sum(parts.values()) <= phases["validate"]
    assert phases["callbacks"] >= 2 * 2 * 0.05


#: Tasks that only newer versions have, with what stands beside each image in place of a text.
NEWER = {"semantic": "yolo26n-sem.yaml", "depth": "yolo26n-depth.yaml"}
OF_TASK = """
import ultralytics
from pathlib import Path
task, name, own = TASK
if task == "pose":  # an architecture with as many key points as the data set
    text = (Path(ultralytics.__file__).parent / "cfg/models/11/yolo11-pose.yaml").read_text()
    Path("yolo11-pose.yaml").write_text(text.replace("[17, 3]", "[2, 2]"))
if task in ("semantic", "depth"):
    for image in Path(own).parent.glob("images/*/*.jpg"):
        beside = Path(str(image).replace("images", "masks" if task == "semantic" else "depth")).with_suffix("")
        beside.parent.mkdir(parents=True, exist_ok=True)
        if task == "semantic":
            import cv2
            cv2.imwrite(f"{beside}.png", np.ones((64, 64), np.uint8))
        else:
            np.save(beside, np.full((64, 64), 2.0, np.float32))
model = model_of(name)
if task == "classify":  # 8.4.2 looks for what only a trained model has
    from ultralytics.data.augment import classify_transforms
    model.model.transforms = classify_transforms(64)
if task == "pose":
    model.model.kpt_shape = [2, 2]
model(images, batch=4, **quiet)
stage("predicted")
model.val(data=own, imgsz=64, batch=2, device="cpu", plots=False, verbose=False, **here)
stage("validated")
model.export(format="torchscript", imgsz=64, device="cpu")
"""


def _matrix() -> list[Any]:
    """Versions with their tasks; one of them runs always."""
    every = [(version, task) for version in VERSIONS for task in MODELS] + [("newest", task) for task in NEWER]
    usual = ("newest", "classify")
    return [one if FULL or one == usual else pytest.param(*one, marks=pytest.mark.long) for one in every]


@pytest.mark.parametrize(("version", "task"), _matrix())
def test_every_task(tmp_path: Path, version: str, task: str) -> None:
    """Predicted, validated and exported, also where results are no boxes."""
    classes = 1 if task == "depth" else 2  # as many as its architecture has
    own = make_dataset(tmp_path / "own", images=4, task="detect" if task in NEWER else task, classes=classes)
    script = OF_TASK.replace("TASK", repr((task, {**MODELS, **NEWER}[task], str(own))))
    done = predict(script, tmp_path, version=version)
    assert done.code == 0, done.output
    assert done.values("predicted")["images_total"] == 10
    assert ("detections_total" in done.values("predicted")) == (task not in {"classify", *NEWER})
    validated = done.values("validated", "validate-0.rec")
    assert validated["images_total"] == 2
    assert all(validated[f"{part}_phase"] > 0 for part in ("preprocess", "inference", "postprocess", "metrics"))
    records = done.stages["end"]
    assert {name: (record.state, record.facts["task"]) for name, record in records.items()} == {
        f"{kind}-0.rec": ("finished", task) for kind in catalog.PREDICTIONS
    }
    exported = {s.metric.name: s.value for s in records["export-0.rec"].samples}
    (artefact,) = tmp_path.glob("*.torchscript")
    assert exported["yoloscope_export_artefact_bytes"] == artefact.stat().st_size
    assert records["export-0.rec"].facts["exported"] == str(artefact)


EMBEDDINGS = """
model = model_of("yolo11n.yaml")
model.embed(images, imgsz=64, device="cpu", verbose=False)
model.embed(images, imgsz=64, device="cpu", verbose=False)
"""


def test_embeddings(tmp_path: Path) -> None:
    """Their batches have no end, and are counted."""
    done = predict(EMBEDDINGS, tmp_path)
    assert done.code == 0, done.output
    end = done.values("end")
    assert (end["calls_total"], end["images_total"], end["under_way"]) == (2, 20, 0)


SAME = """
import torch
for made in (model_of, YOLO):
    torch.manual_seed(0)
    model = made("yolo11n.yaml")
    print("BOXES", [result.boxes.data.sum().item() for result in model(images, **quiet)])
"""


def test_the_same_boxes(tmp_path: Path) -> None:
    """Predictions are what they are without the hooks, of which a model that nobody attached them to has none."""
    done = predict(SAME, tmp_path)
    told = [line for line in done.output.splitlines() if line.startswith("BOXES")]
    assert len(told) == 2
    assert told[0] == told[1]
    assert done.values("end")["images_total"] == 10


#: Commands of `yolo`, with the record that each leaves and its images.
COMMANDS = {
    "predict": (["source=data/images/train", "save=False"], "predict-0.rec", 4),
    "track": (["source=data/images/train", "save=False", "tracker=bytetrack.yaml"], "predict-0.rec", 4),
    "val": (["data=data/data.yaml", "batch=1", "plots=False"], "validate-0.rec", 2),
    "export": (["format=torchscript"], "export-0.rec", None),
}


def _commands() -> list[Any]:
    every = [(version, command) for version in VERSIONS for command in COMMANDS]
    usual = ("newest", "predict")
    return [one if FULL or one == usual else pytest.param(*one, marks=pytest.mark.long) for one in every]


@pytest.mark.parametrize(("version", "command"), _commands())
def test_command_line(tmp_path: Path, version: str, command: str) -> None:
    """`yoloscope run -- yolo predict`, and the others, are recorded without a change."""
    if command == "track":
        for needed in ("lap", *(() if version == "newest" else ("scipy",))):
            pytest.importorskip(needed, reason="Ultralytics' trackers need it")
    make_dataset(tmp_path / "data", images=4)
    arguments, name, images = COMMANDS[command]
    run = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--no-summary", "--"]
    yolo = [sys.executable, "-c", "from ultralytics.cfg import entrypoint; entrypoint()"]
    done = subprocess.run(
        [*run, *yolo, command, "model=yolo11n.yaml", "imgsz=64", "device=cpu", f"project={tmp_path}/runs", *arguments],
        env=environment(tmp_path / "runs", version),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "yoloscope:" not in done.stdout + done.stderr
    ((written, record),) = _records().items()
    told = {s.metric.name: s.value for s in record.samples}
    assert (written, record.state) == (name, "finished")
    assert told.get("yoloscope_predict_images_total") == images
    assert told["yoloscope_predict_under_way"] == 0
    assert ("yoloscope_export_artefact_bytes" in told) is (command == "export")


PLACES = """
import asyncio, multiprocessing, subprocess
import torch
yoloscope_hooks.enable()
one, name = np.zeros((64, 64, 3), np.uint8), "yolo11n-cls.yaml"
def work(calls):
    model = YOLO(name)
    for _ in range(calls):
        model(one, **quiet)
    return calls
class Predicted(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        work(1)
        return index
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, [2, 3], chunksize=1)
stage("pool")
assert len(list(torch.utils.data.DataLoader(Predicted(), num_workers=1))) == 4
stage("loader")
STREAM = "import sys; from ultralytics import YOLO; "
STREAM += f"[0 for _ in YOLO({name!r})(sys.argv[1], stream=True, imgsz=64, device='cpu', verbose=False)]"
subprocess.run([sys.executable, "-c", STREAM, images], check=True)
stage("subprocess")
async def serve():
    model = YOLO(name)
    model(one, **quiet)
    await asyncio.gather(*(asyncio.to_thread(model, one, **quiet) for _ in range(4)))
    generator = model(images, stream=True, **quiet)
    while await asyncio.to_thread(next, generator, None) is not None:
        pass
asyncio.run(serve())
"""


@pytest.mark.slow
def test_where_it_is_predicted(tmp_path: Path) -> None:
    """In workers of a pool and of a loader, in another Python, and by a server: each process has a record, and ends."""
    done = predict(PLACES, tmp_path)
    assert done.code == 0, done.output
    seen: set[str] = set()
    for stage, images in (("pool", 5), ("loader", 4), ("subprocess", 10), ("end", 15)):
        new = {path: record for path, record in done.stages[stage].items() if path not in seen}
        seen |= new.keys()
        counted = [{s.metric.name: s.value for s in record.samples} for record in new.values()]
        assert sum(one["yoloscope_predict_images_total"] for one in counted) == images, stage
        states = [s.labels[2] for record in new.values() for s in prediction(record) if _is_state(s) and s.value]
        assert set(states) == {"finished"}, stage
        assert [one["yoloscope_predict_under_way"] for one in counted] == [0] * len(new), stage


def _is_state(sample: Sample) -> bool:
    return sample.metric is catalog.PREDICT_STATE
