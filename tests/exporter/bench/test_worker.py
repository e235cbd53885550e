"""The script that the user's Python runs, as far as it needs no model; the command's tests have the rest."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.bench import remote, worker
from yoloscope_exporter.language.zh_cn import TEXTS

from tests import training

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def cv2() -> ModuleType:
    pytest.importorskip("numpy", reason="needs the extra train: pip install 'yoloscope[train]'")
    return pytest.importorskip("cv2", reason="needs the extra train: pip install 'yoloscope[train]'")


def test_it_needs_nothing_of_yoloscope() -> None:
    """Started by its path in isolation, it answers a thing that it cannot do, and ends with its input."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(remote.SCRIPT)],
        input=json.dumps({"do": "facts", "modules": [], "device": ""}) + "\n" + json.dumps({"do": "nonsense"}) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["error"] == "ModuleNotFoundError: No module named 'torch'"
    assert second["error"].startswith("AttributeError: ")
    assert "Traceback" in done.stderr


#: Two cards that are played, and what is told of them in a process for each device.
CHOOSES = """
import os, sys
from yoloscope_exporter.bench import worker
import torch

class Cuda:
    visible = None

    def seen(self):
        if self.visible is None:  # CUDA reads it once
            asked = os.environ.get("CUDA_VISIBLE_DEVICES") or "-1"
            self.visible = [["first", "second"][int(one)] for one in asked.split(",") if int(one) >= 0]
        return self.visible

    def __getattr__(self, name):
        return lambda *_, **__: None

    def is_available(self): return bool(self.seen())
    def device_count(self): return len(self.seen())
    def current_device(self): return 0
    def get_device_name(self, device): return self.seen()[torch.device(device).index or 0]
    def get_device_properties(self, index): return type("Card", (), {"name": self.seen()[index], "total_memory": 1})

torch.cuda = Cuda()
import ultralytics.utils.torch_utils
for device in sys.argv[1:]:
    if os.fork() == 0:
        print(device, worker.chosen(device), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.train
@pytest.mark.parametrize("version", [pytest.param("8.4.2", marks=pytest.mark.long), "8.3.9", "newest"])
def test_the_gpu_that_is_chosen_is_named(tmp_path: Path, version: str) -> None:
    """By Ultralytics itself, which chooses by CUDA_VISIBLE_DEVICES in some versions."""
    pytest.importorskip("ultralytics", reason="needs the extra train: pip install 'yoloscope[train]'")
    environ = training.environment(tmp_path, version) | {"CUDA_VISIBLE_DEVICES": "0,1"}
    command = [sys.executable, "-c", CHOOSES, "cpu", "0", "cuda:1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines()[-3:] == ["cpu None", "0 first", "cuda:1 second"]


def test_errors_are_one_line() -> None:
    """The first that says something; a bare one has its type."""
    assert worker.in_one_line(ValueError("\n  first\nsecond")) == "ValueError: first"
    assert worker.in_one_line(KeyError()) == "KeyError"


def test_images_are_square_and_keep_their_shape(cv2: ModuleType) -> None:
    """Twice as wide as high: grey above and below, none of it at the sides."""
    import numpy as np  # noqa: PLC0415 - after the fixture

    image = worker.squared(np.zeros((50, 100, 3), np.uint8), 64)
    assert image.shape == (64, 64, 3)
    assert image[0, 0].tolist() == image[63, 63].tolist() == [worker.GREY] * 3
    assert image[32, 0].tolist() == image[32, 63].tolist() == [0, 0, 0]
    assert (image[:, 0] == worker.GREY).all(axis=1).sum() == 32


def test_own_images_are_the_same_each_time(cv2: ModuleType) -> None:
    """Cut and drawn ones, so that two benches can be compared."""
    import numpy as np  # noqa: PLC0415 - after the fixture

    photo = np.random.default_rng(0).integers(0, 255, (80, 60, 3), np.uint8)
    for make in (lambda dice: worker.cut(photo, dice), lambda dice: worker.drawn(64, dice)):
        first, second = (make(random.Random(3)) for _ in range(2))
        assert np.array_equal(first, second)
    assert 0.6 * 80 - 1 <= worker.cut(photo, random.Random(1)).shape[0] <= 80


def test_images_of_a_folder(cv2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread over all of it; what cannot be read is left out, and a folder without any is an error."""
    pytest.importorskip("ultralytics", reason="needs the extra train: pip install 'yoloscope[train]'")
    import numpy as np  # noqa: PLC0415 - after the fixture

    for index in range(2 * worker.MOST_IMAGES):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), np.full((8, 8, 3), index, np.uint8))
    (tmp_path / "broken.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    images, origin = worker.pictures(str(tmp_path), 32)
    assert origin == str(tmp_path)
    values = [int(image[16, 16, 0]) for image in images]
    assert len(values) == worker.MOST_IMAGES
    assert max(values) > 2 * worker.MOST_IMAGES - 5
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(worker.ToldError, match=r"--source .*empty: no image that can be read") as told:
        worker.pictures(str(empty), 32)
    template, values = told.value.text
    assert template in TEXTS
    assert template.format_map(values) == str(told.value)


def test_a_mask_as_a_number(cv2: ModuleType) -> None:
    """Each point of MASK x MASK is one bit."""
    import numpy as np  # noqa: PLC0415 - after the fixture

    class Mask:
        shape = (160, 160)

        def numpy(self) -> np.ndarray:
            content = np.zeros(self.shape)
            content[:, :80] = 1.0
            return content

    assert int(worker.bits(Mask()), 16).bit_count() == worker.MASK**2 / 2
