"""Predictions that go wrong in one way each, or in none: real ones on the CPU, and what is to be said of them.

    python -m tests.staged_predictions camera tiles --times 10     # told by `yoloscope run`, `report` and `diagnose`

The right answers were written down before they were tried. `small_inference_batch` and `precision` are about GPUs: of
these there are modelled recordings in tests/exporter/reports/test_prediction.py and
tests/exporter/diagnosis/test_predictions.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests import forked
from tests.training import environment

PRELUDE = """
import os, sys, threading, time
import cv2, numpy as np
from ultralytics import YOLO
if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid
times = int(os.environ.get("STAGE_TIMES", "1"))
noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
plain = np.full((1080, 1920, 3), 90, np.uint8)
for index in range(12):
    cv2.imwrite(f"{index:03d}.jpg", noise[:480, :480])
quiet = dict(device="cpu", verbose=False, save=False, project=os.getcwd() + "/runs/detect")

def video(name, frame, frames=25, form="MJPG"):
    writer = cv2.VideoWriter(name, cv2.VideoWriter_fourcc(*form), 25, frame.shape[1::-1])
    for _ in range(frames):
        writer.write(frame)
    writer.release()

def every(images, **how):
    for _ in range(times):
        for result in YOLO("yolo11n.yaml")(images, stream=True, **{**quiet, **how}):
            yield result
"""


@dataclass(frozen=True)
class Staged:
    """A prediction.

    Attributes:
        script: what runs after PRELUDE.
        verdict: the one that is told, and no other; empty where there is none.
        said: a part of what the report says.
        never: what must not be in it.
        kind: what it does last: predict, validate, export.
        code: the exit code of the script.
    """

    script: str
    verdict: str
    said: str = ""
    never: str = "no such text"
    kind: str = "predict"
    code: int = 0


#: Variants that take no longer than a second or two where PyTorch is imported already.
QUICK = ("dropped", "tiles", "failed_export", "cascade", "ensemble", "urls")

SERVER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
picture = open("000.jpg", "rb").read()
class Slow(BaseHTTPRequestHandler):  # an object store, or a camera's snapshots
    def do_GET(self):
        time.sleep(0.2)
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
at = f"http://127.0.0.1:{server.server_port}"
"""
SLOW_FILES = """
import ultralytics.data.loaders as loaders
read = loaders.imread
def imread(*args, **kwargs):
    time.sleep(0.2)  # a file system that answers late: NFS, FUSE, an object store
    return read(*args, **kwargs)
loaders.imread = imread
"""
CAMERA = """
class Camera:
    open = lambda *_: True
    isOpened = open
    def __init__(self, *_):
        pass
    def get(self, what):
        return {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 3}.get(what, 0)
    def grab(self):
        time.sleep(0.4)
        return True
    def retrieve(self):
        return True, plain[:480, :640].copy()
    def read(self):
        return self.retrieve()
    def release(self):
        pass
cv2.VideoCapture = Camera
"""
TILES = """
model = YOLO("yolo11n.yaml")
def tiles(edge=240):
    return [plain[y : y + edge, x : x + edge].copy() for y in range(0, 960, edge) for x in range(0, 1920, edge)]
def merged(results):  # what a tool for small objects does with the boxes of the tiles
    found = np.concatenate([result.boxes.data.numpy() for result in results])
    return found[np.argsort(-found[:, 4])]
"""

MJPEG = SERVER.replace(
    """        time.sleep(0.2)
        self.send_response(200)
""",
    """        self.send_response(200)
        if self.path == "/live":
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(10_000):
                part = b"--frame\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(picture)
                self.wfile.write(part + picture + b"\\r\\n")
                time.sleep(0.2)
""",
)
STOPPED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
for index, _ in enumerate(YOLO("yolo11n.yaml")("0", stream=True, imgsz=64, **quiet)):
    if index >= 12 * times:
        os.kill(os.getpid(), signal.NAME)
"""
TASK = """
model = YOLO("NAME")
if model.task == "classify":  # what only a trained model has
    from ultralytics.data.augment import classify_transforms
    model.model.transforms = classify_transforms(160)
for _ in range(times):
    for _ in model("*.jpg", stream=True, imgsz=160, **quiet):
        pass
"""
VALIDATION = """
from tests.training import make_dataset
from pathlib import Path
data, noted = make_dataset(Path("data"), images=16), []
def call(validator):
    WORK
model = YOLO("yolo11n.yaml")
model.add_callback("on_val_batch_end", call)
for _ in range(times):
    model.val(data=data, imgsz=160, batch=1, plots=False, **quiet)
"""

#: One for each verdict that two cores can show.
VERDICTS = {
    "video": Staged(
        """
video("large.avi", noise)
for _ in every("large.avi", imgsz=32):
    pass
""",
        "source_bound",
        "vid_stride=2",
    ),
    "waiting_loop": Staged(
        """
for _ in every("*.jpg", imgsz=64):
    time.sleep(0.2)
""",
        "user_code_bound",
        "in a thread or process of its own",
    ),
    "masks": Staged(
        """
many = dict(conf=1e-7, iou=0.99, max_det=100, retina_masks=True)
for _ in range(times):
    for _ in YOLO("yolo11n-seg.yaml")("*.jpg", stream=True, imgsz=160, **many, **quiet):
        pass
""",
        "postprocess_bound",
        "conf=0.25",
    ),
    "large_images": Staged(
        """
model, large = YOLO("yolo11n-cls.yaml"), [np.tile(noise, (2, 2, 1))] * 4
for _ in range(6 * times):
    model(large, imgsz=32, **quiet)
""",
        "predict_preprocess_bound",
        "scale the images down",
    ),
    "model": Staged(
        """
for _ in every("*.jpg", imgsz=640):
    pass
""",
        "inference_bound",
        "yolo export",
    ),
}

#: What practitioners do beside that.
VARIANTS = {
    # 1: reading waits, and computes nothing
    "slow_files": Staged(
        SLOW_FILES + "for _ in every('*.jpg', imgsz=160):\n    pass\n", "source_bound", "local SSD", "vid_stride"
    ),
    # 2: half of a video is not wanted: what was predicted is judged, and the generator counted
    "dropped": Staged(
        """
video("short.avi", noise[:480, :480], 60)
model = YOLO("yolo11n.yaml")
for _ in range(times):
    for index, _ in enumerate(model("short.avi", stream=True, imgsz=320, **quiet)):
        if index == 20:
            break
model(noise[:64, :64], **quiet)
""",
        "inference_bound",
        "| dropped generators | 1 |",
    ),
    # 3: a camera sets the pace: who waits for it keeps up
    "camera": Staged(
        CAMERA
        + """
for index, _ in enumerate(YOLO("yolo11n.yaml")("0", stream=True, imgsz=64, **quiet)):
    if index == 12 * times:
        break
""",
        "inference_bound",
        "it keeps up with its source",
    ),
    # 4: a tracker with many boxes. The answer written down was that it takes longest: wrong, the model does
    "tracker": Staged(
        """
video("short.avi", noise[:480, :480], 40)
model = YOLO("yolo11n.yaml")
for _ in range(times):
    for _ in model.track("short.avi", stream=True, imgsz=160, persist=True, tracker="bytetrack.yaml",
                         **{**quiet, "conf": 1e-7, "iou": 0.99, "max_det": 300}):
        pass
""",
        "inference_bound",
        "| callbacks | ",
    ),
    # 5: an image in tiles, each of which is a call: what a call of Ultralytics costs is not the user's code
    "tiles": Staged(
        TILES
        + """
for _ in range(2 * times):
    merged([model(tile, imgsz=160, **quiet)[0] for tile in tiles()])
""",
        "inference_bound",
        "| calls | ",
    ),
    # 6: the same tiles in one call
    "tiles_at_once": Staged(
        TILES + "for _ in range(6 * times):\n    merged(model(tiles(), imgsz=160, **quiet))\n", "inference_bound"
    ),
    # 7: four threads with a model each: times add up, and the model has nearly all of them
    "four_threads": Staged(
        """
def work(model):
    for _ in range(8 * times):
        model(plain[:320, :320].copy(), imgsz=320, **quiet)
threads = [threading.Thread(target=work, args=(YOLO("yolo11n.yaml"),)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
        "inference_bound",
    ),
    # 8: four threads with one model, which Ultralytics lets in one after the other: to wait for that is no cause
    "one_model_four_threads": Staged(
        """
model = YOLO("yolo11n.yaml")
def work():
    for _ in range(6 * times):
        model(plain[:320, :320].copy(), imgsz=320, **quiet)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
        "inference_bound",
    ),
    # 9: frames of full HD in lists of 32. The answer written down was that they are scaled down for too long: wrong,
    # for OpenCV's linear scaling looks at no more pixels than it makes
    "lists_of_32": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(2 * times):
    for _ in range(3):
        model([noise] * 32, imgsz=64, **quiet)
""",
        "inference_bound",
    ),
    # 10: a callback that writes each image; `save=False` would change nothing
    "writing_callback": Staged(
        """
model = YOLO("yolo11n.yaml")
def write(predictor):
    cv2.imwrite("written.png", np.tile(predictor.results[0].orig_img, (3, 3, 1)))
model.add_callback("on_predict_batch_end", write)
for _ in range(2 * times):
    for _ in model("*.jpg", stream=True, imgsz=64, **quiet):
        pass
""",
        "user_code_bound",
        "in a thread or process of its own",
        "save=False",
    ),
    # 11: every image is drawn and written
    "saving": Staged(
        """
for index in range(12):
    cv2.imwrite(f"{index:03d}.jpg", plain)
many = dict(conf=1e-9, iou=0.99, max_det=300)
for _ in every("*.jpg", imgsz=160, save=True, **many):
    pass
""",
        "user_code_bound",
        "save=False",
        "save_txt",
    ),
    # 12: not the image but its boxes are written, each of them cut out
    "crops": Staged(
        """
many = dict(conf=1e-7, iou=0.99, max_det=100)
for _ in every("*.jpg", imgsz=160, save_crop=True, save_txt=True, **many):
    pass
""",
        "user_code_bound",
        "save_txt=False save_crop=False",
        " save=False",
    ),
    # 13: nothing is left out. The answer written down was that boxes are compared for too long: wrong, on a CPU the
    # model takes longer than NMS for the two thousand boxes of an image of 320 pixels
    "all_boxes": Staged(
        """
for _ in every("*.jpg", imgsz=320, conf=1e-9, iou=0.99, max_det=3000):
    pass
""",
        "inference_bound",
    ),
    # 14: a classifier of tiny images, one call each: what is left beside the model is Ultralytics' own
    "tiny_images": Staged(
        """
model = YOLO("yolo11n-cls.yaml")
for _ in range(400 * times):
    model(plain[:32, :32].copy(), imgsz=32, **quiet)
""",
        "inference_bound",
    ),
    # 15: the first call exports, loads another runtime and warms it up: set-up holds nothing back
    "export_first": Staged(
        """
exported = YOLO("yolo11n.yaml").export(format="onnx", imgsz=320, device="cpu", simplify=True)
model = YOLO(exported, task="detect")
for _ in range(2 * times):
    for _ in model("*.jpg", stream=True, imgsz=320, **quiet):
        pass
""",
        "inference_bound",
        "| format | onnx |",
        "yolo export",
    ),
    # 16: the user's own loop reads slow files between calls: nobody knows that from waiting for requests
    "own_reading": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(12 * times):
    time.sleep(0.3)
    model(cv2.imread("000.jpg"), imgsz=160, **quiet)
""",
        "inference_bound",
        "between calls it waited for",
    ),
    # 17: the same where reading is decoding: that is the user's code, which computes
    "own_decoding": Staged(
        """
cv2.imwrite("huge.png", np.tile(noise, (2, 2, 1)))
model = YOLO("yolo11n.yaml")
for _ in range(10 * times):
    model(cv2.imread("huge.png")[:64, :64].copy(), imgsz=64, **quiet)
""",
        "user_code_bound",
        "mostly your own code",
    ),
    # 18: a validation on its own, with plots: no verdict
    "validation": Staged(
        """
from tests.training import make_dataset
from pathlib import Path
data = make_dataset(Path("data"), images=16)
for _ in range(times):
    YOLO("yolo11n.yaml").val(data=data, imgsz=160, batch=2, plots=True, **quiet)
""",
        "",
        "| mode | validate |",
        "Verdicts",
        kind="validate",
    ),
    # 19: an export that fails ends the program: that it failed is told, and no size
    "failed_export": Staged(
        """
def fail(*_, **__):
    raise RuntimeError("no such operator")
import torch
torch.onnx.export = fail
YOLO("yolo11n.yaml").export(format="onnx", imgsz=64, device="cpu")
""",
        "",
        "failed; ",
        "## Exports",
        kind="export",
        code=1,
    ),
    # 20: a cascade: what the first model finds is given to the second one, whose time is no code of the user's
    "cascade": Staged(
        """
video("short.avi", noise[:480, :480], 12)
find, tell = YOLO("yolo11n.yaml"), YOLO("yolo11n-cls.yaml")
for _ in range(times):
    for result in find("short.avi", stream=True, imgsz=160, **quiet):
        for edge in range(3):
            tell(result.orig_img[160 * edge :][:160, :160].copy(), imgsz=160, **quiet)
""",
        "inference_bound",
    ),
    # 21: an ensemble: two models are asked about each image in turn
    "ensemble": Staged(
        """
models = [YOLO("yolo11n.yaml"), YOLO("yolo11n.yaml")]
for _ in range(8 * times):
    for model in models:
        model(plain[:320, :320].copy(), imgsz=160, **quiet)
""",
        "inference_bound",
    ),
    # 22: each call downloads its image: that is the source's time, though it is over before the call's first batch
    "urls": Staged(
        SERVER
        + """
model = YOLO("yolo11n.yaml")
for index in range(6 * times):
    model(f"{at}/seen-{index}.jpg", imgsz=64, **quiet)
""",
        "source_bound",
        "local SSD",
        "vid_stride",
    ),
    # 23: images of a size that nobody needs, opened by PIL and decoded by Ultralytics
    "pictures": Staged(
        """
from PIL import Image
cv2.imwrite("huge.png", np.tile(noise, (2, 2, 1)))
model = YOLO("yolo11n.yaml")
for _ in range(6 * times):
    model(Image.open("huge.png"), imgsz=64, **quiet)
""",
        "source_bound",
        "in a thread of your own",
        "vid_stride",
    ),
    # 24: a tracker that is given one frame at a time
    "frame_by_frame": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(12 * times):
    model.track(plain[:320, :320].copy(), persist=True, imgsz=320, tracker="bytetrack.yaml", **quiet)
""",
        "inference_bound",
        "| mode | track |",
    ),
    # 25: a cascade behind a camera, which sets the pace of both
    "camera_cascade": Staged(
        CAMERA
        + """
find, tell = YOLO("yolo11n.yaml"), YOLO("yolo11n-cls.yaml")
for index, result in enumerate(find("0", stream=True, imgsz=64, **quiet)):
    tell(result.orig_img[:64, :64].copy(), imgsz=64, **quiet)
    if index == 12 * times:
        break
""",
        "inference_bound",
        "it keeps up with its source",
    ),
    # 26: a model for each image, as in many a first script
    "reloading": Staged(
        """
for _ in range(12 * times):
    YOLO("yolo11n.yaml")(plain[:320, :320].copy(), imgsz=160, **quiet)
""",
        "user_code_bound",
        "make the model once",
    ),
    # 27: video of 4K decoded for a model that looks at 64 pixels, in a list instead of a stream
    "large_video": Staged(
        """
video("large.avi", np.tile(noise, (2, 2, 1)), 12)
for _ in range(times):
    YOLO("yolo11n.yaml")("large.avi", imgsz=64, **quiet)
""",
        "source_bound",
        "vid_stride=2",
    ),
    # 28: photos of 8 megapixels, read and decoded one by one
    "photos": Staged(
        """
for index in range(12):
    cv2.imwrite(f"{index:03d}.jpg", np.tile(noise, (2, 2, 1)))
for _ in every("*.jpg", imgsz=64):
    pass
""",
        "source_bound",
        "local SSD",
        "vid_stride",
    ),
    # 29: an MJPEG stream over HTTP at five frames per second: it sets the pace
    "http_stream": Staged(
        MJPEG
        + """
for index, _ in enumerate(YOLO("yolo11n.yaml")(f"{at}/live", stream=True, imgsz=64, **quiet)):
    if index == 12 * times:
        break
""",
        "inference_bound",
        "it keeps up with its source",
    ),
    # 30: masks in the size of the photo, for three hundred boxes of each. As a list, which is one batch whatever it
    # holds, it was too little to judge
    "large_masks": Staged(
        """
for index in range(12):
    cv2.imwrite(f"{index:03d}.jpg", noise[:720, :720])
many = dict(conf=1e-7, iou=0.99, max_det=300, retina_masks=True)
for _ in range(times):
    for _ in YOLO("yolo11n-seg.yaml")("*.jpg", stream=True, imgsz=96, **many, **quiet):
        pass
""",
        "postprocess_bound",
        "max_det=100",
    ),
    # 31: who consumes a video's generator sleeps, as an upload of each frame does
    "upload": Staged(
        """
video("short.avi", noise[:320, :320], 20)
for _ in every("short.avi", imgsz=96):
    time.sleep(0.15)
""",
        "user_code_bound",
        "in a thread or process of its own",
        "several images in one call",
    ),
    # 32: a callback looks each box up in a slow service, between the model and the result
    "lookup": Staged(
        """
model = YOLO("yolo11n.yaml")
model.add_callback("on_predict_postprocess_end", lambda predictor: time.sleep(0.15))
for _ in range(2 * times):
    for _ in model("*.jpg", stream=True, imgsz=96, **quiet):
        pass
""",
        "user_code_bound",
        "callbacks that hand their work to a thread",
    ),
    # 33: single calls, and between them the user computes
    "own_work": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(12 * times):
    model(plain[:96, :96].copy(), imgsz=96, **quiet)
    np.sort(noise.reshape(-1, 3), axis=0)
""",
        "user_code_bound",
        "pass several images in one call",
    ),
    # 34: a first look at one image: too little to judge
    "one_image": Staged("YOLO('yolo11n.yaml')(plain[:96, :96].copy(), imgsz=96, **quiet)\n", "", "## Verdicts", "**"),
    # 35: three images of a folder
    "three_images": Staged(
        "YOLO('yolo11n.yaml')(['000.jpg', '001.jpg', '002.jpg'], imgsz=96, **quiet)\n", "", "## Verdicts", "**"
    ),
    # 36: a generator that is dropped after its third image
    "three_of_many": Staged(
        """
for index, _ in enumerate(YOLO("yolo11n.yaml")("*.jpg", stream=True, imgsz=96, **quiet)):
    if index == 2:
        break
""",
        "",
        "| dropped generators | 1 |",
        "**",
    ),
    # 37: ten calls of an image each, one after the other
    "ten_calls": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(10 * times):
    model("000.jpg", imgsz=160, **quiet)
""",
        "inference_bound",
    ),
    # 38: a service that is asked ten times, with pauses
    "service": Staged(
        """
model = YOLO("yolo11n.yaml")
for _ in range(10 * times):
    time.sleep(0.2)
    model("000.jpg", imgsz=160, **quiet)
""",
        "inference_bound",
        "between calls it waited for",
    ),
    # 39: a model of its own size is read from a file, which takes longer than the dozen images
    "heavy_model": Staged(
        """
made = YOLO("yolo11m.yaml")
made.save("heavy.pt")
for _ in range(times):
    for _ in YOLO("heavy.pt")("*.jpg", stream=True, imgsz=96, **quiet):
        pass
""",
        "inference_bound",
    ),
    # 40: the other tracker, with the motion of the camera
    "botsort": Staged(
        """
video("short.avi", noise[:320, :320], 25)
model = YOLO("yolo11n.yaml")
for _ in range(times):
    for _ in model.track("short.avi", stream=True, imgsz=320, tracker="botsort.yaml", **quiet):
        pass
""",
        "inference_bound",
        "| mode | track |",
    ),
    # 41 to 46: what is no detector of YOLO11's, or none of boxes
    "classify": Staged(TASK.replace("NAME", "yolo11n-cls.yaml"), "inference_bound", "| task | classify |"),
    "segment": Staged(TASK.replace("NAME", "yolo11n-seg.yaml"), "inference_bound", "| task | segment |"),
    "pose": Staged(TASK.replace("NAME", "yolo11n-pose.yaml"), "inference_bound", "| task | pose |"),
    "obb": Staged(TASK.replace("NAME", "yolo11n-obb.yaml"), "inference_bound", "| task | obb |"),
    "transformer": Staged(
        "from ultralytics import RTDETR\n" + TASK.replace("YOLO(", "RTDETR(").replace("NAME", "rtdetr-resnet50.yaml"),
        "inference_bound",
    ),
    "open_vocabulary": Staged(
        "from ultralytics import YOLOWorld\n"
        + TASK.replace("YOLO(", "YOLOWorld(").replace("NAME", "yolov8s-worldv2.yaml"),
        "inference_bound",
    ),
    # 47: in the middle of a video somebody validates: that is no code of the user's. The report is on the run that
    # began last, so another validation comes first
    "validating_between": Staged(
        """
from tests.training import make_dataset
from pathlib import Path
data = make_dataset(Path("data"), images=16)
video("short.avi", noise[:320, :320], 20)
model = YOLO("yolo11n.yaml")
def validate():
    YOLO("yolo11n.yaml").val(data=data, imgsz=160, batch=2, plots=False, **quiet)
validate()
for _ in range(times):
    for index, _ in enumerate(model("short.avi", stream=True, imgsz=320, **quiet)):
        if index % 8 == 4:
            validate()
""",
        "inference_bound",
    ),
    # 48: Ultralytics prints a line for each image
    "verbose": Staged(
        """
for _ in every("*.jpg", imgsz=160, verbose=True):
    pass
""",
        "inference_bound",
    ),
    # 49: tensors that are prepared already
    "tensors": Staged(
        """
import torch
model, images = YOLO("yolo11n.yaml"), torch.rand(2, 3, 320, 320)
for _ in range(12 * times):
    model(images, **quiet)
""",
        "inference_bound",
    ),
    # 50: test-time augmentation, which asks the model three times
    "augmented": Staged("for _ in every('*.jpg', imgsz=160, augment=True):\n    pass\n", "inference_bound"),
    # 51: a video is written with its boxes, as small as what the model looks at
    "saved_video": Staged(
        """
video("short.avi", noise[:320, :320], 25)
for _ in every("short.avi", imgsz=320, save=True):
    pass
""",
        "inference_bound",
    ),
    # 52: a thread predicts, and waits until somebody has room for the result
    "queue": Staged(
        """
import queue
results = queue.Queue(maxsize=1)
def produce():
    for result in every("*.jpg", imgsz=96):
        results.put(result)
    results.put(None)
threading.Thread(target=produce).start()
while results.get() is not None:
    time.sleep(0.2)
""",
        "user_code_bound",
        "in a thread or process of its own",
    ),
    # 53: a server's threads have a model each, and are asked now and then
    "requests": Staged(
        """
from concurrent.futures import ThreadPoolExecutor
here = threading.local()
def answer(_):
    if not hasattr(here, "model"):
        here.model = YOLO("yolo11n.yaml")
    time.sleep(0.3)
    here.model(plain[:320, :320].copy(), imgsz=320, **quiet)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(answer, range(16 * times)))
""",
        "inference_bound",
        "between calls it waited for",
    ),
    # 54: two files at once
    "pairs": Staged("for _ in every('*.jpg', imgsz=160, batch=2):\n    pass\n", "inference_bound", "| batch | 2 |"),
    # 55: a camera that is stopped by Ctrl-C, as every camera is
    "stopped_camera": Staged(
        CAMERA + STOPPED.replace("NAME", "SIGINT"), "inference_bound", "stopped; ", "failed; ", code=128 + signal.SIGINT
    ),
    # 56: one that its supervisor ends
    "terminated_camera": Staged(
        CAMERA + STOPPED.replace("NAME", "SIGTERM"),
        "inference_bound",
        "stopped; ",
        "killed; ",
        code=128 + signal.SIGTERM,
    ),
    # 57: a callback of a validation draws each batch
    "drawing_validation": Staged(
        VALIDATION.replace("WORK", "time.sleep(0.3)"), "validate_callback_bound", "at on_val_end", kind="validate"
    ),
    # 58: one that notes a number
    "noting_validation": Staged(
        VALIDATION.replace("WORK", "noted.append(validator.batch_i)"), "", "| mode | validate |", "**", kind="validate"
    ),
}


def run(staged: Staged, folder: Path, *, times: int = 1) -> str:
    """What is printed by its script under `yoloscope run`, the card included.

    Raises:
        AssertionError: it ended otherwise than it should.
    """
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--summary", "--"]
    environ = environment(folder / "runs")
    done = subprocess.run(
        [*command, sys.executable, "-c", PRELUDE + staged.script],
        env=environ | {"STAGE_TIMES": str(times), "PYTHONPATH": os.pathsep.join((environ["PYTHONPATH"], str(ROOT)))},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == staged.code, done.stdout + done.stderr
    return done.stdout


ROOT = Path(__file__).parents[1]


def run_quickly(staged: Staged, folder: Path, **environ: str) -> int:
    """Its script with `enable()` in a process that has PyTorch imported: no card, but for the hooks all is the same.

    Raises:
        AssertionError: it ended otherwise than it should.
    """
    program, output = folder / "program.py", folder / "output.txt"
    hooks = f"import sys\nsys.path.append({str(ROOT)!r})\nimport yoloscope_hooks\nyoloscope_hooks.enable()\n"
    program.write_text(hooks + PRELUDE + staged.script)
    with output.open("w") as file:
        told = environment(folder / "runs") | environ
        with forked.running("newest", [str(program)], told, folder, output=file.fileno()) as running:
            code = running.wait(150)
    assert code == staged.code, output.read_text()
    return code


def main() -> None:
    """Stage those that are named, and show what is said of each."""
    names, times = [name for name in sys.argv[1:] if not name.isdecimal() and name != "--times"], 1
    if "--times" in sys.argv:
        times = int(sys.argv[sys.argv.index("--times") + 1])
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["YOLOSCOPE_DIR"] = str(Path(folder) / "records")
            staged = {**VERDICTS, **VARIANTS}[name]
            print(f"=== {name}: {staged.verdict or 'no verdict'}\n{run(staged, Path(folder), times=times)}", flush=True)
            ask = [sys.executable, "-m", "yoloscope_exporter.cli"]
            subprocess.run([*ask, "report"], env=environment(Path(folder) / "runs"), check=False)


if __name__ == "__main__":
    main()
