"""How long reading and decoding takes, and which files took longest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import decoding
from yoloscope_record.loader_facts import SLOW_FILES, SlowFile

CLOCK = [100.0]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on when an image is read."""
    monkeypatch.setattr(decoding, "perf_counter", lambda: CLOCK[0])


class Images:
    """A data set as Ultralytics has them; image `i` takes `seconds[i]`."""

    cache: str | None = None

    def __init__(self, folder: Path, seconds: list[float]) -> None:
        """Write the files, `i` bytes long."""
        self.seconds = seconds
        self.ims: list[Any] = [None] * len(seconds)
        self.im_files = [str(folder / f"{index}.jpg") for index in range(len(seconds))]
        self.npy_files = [folder / f"{index}.npy" for index in range(len(seconds))]
        for index, name in enumerate(self.im_files):
            Path(name).write_bytes(b"x" * index)

    def load_image(self, i: int, *, rect_mode: bool = True) -> tuple[int, bool]:
        """Take the time."""
        CLOCK[0] += self.seconds[i]
        return i, rect_mode


def test_time_and_slowest(tmp_path: Path) -> None:
    """The sum of all calls; the five slowest files with size, each once, the slowest first."""
    images = Images(tmp_path, [0.0, 5.0, 2.0, 4.0, 3.0, 1.0, 6.0])
    seen = decoding.instrument(images)
    assert seen is not None
    for _ in range(2):
        assert [images.load_image(i, rect_mode=False) for i in range(7)] == [(i, False) for i in range(7)]
    assert seen.seconds == 2 * 21
    assert [Path(file.path).name for file in seen.longest] == ["6.jpg", "1.jpg", "3.jpg", "4.jpg", "2.jpg"]
    assert [(file.seconds, file.size) for file in seen.longest] == [(6, 6), (5, 1), (4, 3), (3, 4), (2, 2)]


def test_what_of_it_was_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU time of the thread meanwhile, never more than the time itself; and the size of the original."""
    computed = [7.0]
    monkeypatch.setattr(decoding, "thread_time", lambda: computed[0])

    class Pictures(Images):
        def load_image(self, i: int, *, rect_mode: bool = True) -> Any:
            CLOCK[0] += self.seconds[i]
            computed[0] += 1.5
            return "image", (480, 640), (240, 320)

    images = Pictures(tmp_path, [2.0, 1.0])
    seen = decoding.instrument(images)
    images.load_image(0)
    images.load_image(1)
    assert seen is not None
    assert [(file.seconds, file.computing) for file in seen.longest] == [(2.0, 1.5), (1.0, 1.0)]
    assert {(file.width, file.height, file.form) for file in seen.longest} == {(640, 480, "JPG")}


def test_class_and_other_data_sets_stay_as_they_are(tmp_path: Path) -> None:
    """Only this instance is instrumented."""
    before = Images.load_image
    other = Images(tmp_path, [0.0])
    decoding.instrument(Images(tmp_path, [0.0]))
    assert Images.load_image is before
    assert "load_image" not in vars(other)


def test_instrumented_twice_counts_once(tmp_path: Path) -> None:
    """A worker that torch resumes goes on with what it had."""
    images = Images(tmp_path, [2.0])
    first = decoding.instrument(images)
    assert decoding.instrument(images) is first
    images.load_image(0)
    assert first is not None
    assert first.seconds == 2.0


def test_images_in_memory_are_no_slow_files(tmp_path: Path) -> None:
    """What a cache or the mosaic's buffer holds was not read; its time counts."""
    images = Images(tmp_path, [2.0, 0.5])
    images.ims[0] = "an image"
    seen = decoding.instrument(images)
    assert seen is not None
    images.load_image(0)
    images.load_image(1)
    assert seen.seconds == 2.5
    assert [file.path for file in seen.longest] == [images.im_files[1]]


def test_file_of_the_disk_cache(tmp_path: Path) -> None:
    """With cache=disk it is the array that is read, once it is there."""
    images = Images(tmp_path, [1.0, 1.0])
    images.cache = "disk"
    images.npy_files[1].write_bytes(b"x" * 100)
    seen = decoding.instrument(images)
    assert seen is not None
    images.load_image(0)
    images.load_image(1)
    assert {(file.path, file.size) for file in seen.longest} == {
        (images.im_files[0], 0),
        (str(images.npy_files[1]), 100),
    }


def test_file_that_is_gone_has_no_size(tmp_path: Path) -> None:
    """An archive's member, say, cannot be asked for its size."""
    images = Images(tmp_path, [1.0])
    Path(images.im_files[0]).unlink()
    seen = decoding.instrument(images)
    images.load_image(0)
    assert seen is not None
    assert seen.longest[0].size is None


@pytest.mark.parametrize("ims", [None, [], {}])
def test_strange_data_set(ims: Any) -> None:
    """One that has `load_image` and nothing else of Ultralytics' is timed; nothing is raised into it."""

    def double(name: str) -> str:
        CLOCK[0] += 1.0
        return name * 2

    images = SimpleNamespace(load_image=double, ims=ims)
    seen = decoding.instrument(images)
    assert images.load_image("ab") == "abab"
    assert seen is not None
    assert seen.seconds == 1.0
    assert seen.longest == []


def test_errors_are_the_data_sets_own(tmp_path: Path) -> None:
    """What it raises comes through."""
    images = Images(tmp_path, [0.0])
    decoding.instrument(images)
    with pytest.raises(IndexError):
        images.load_image(1)


def test_several_data_sets_in_one(tmp_path: Path) -> None:
    """YOLO-World trains on several, concatenated: all are measured together."""
    parts = [Images(tmp_path, [1.0]), Images(tmp_path, [2.0])]
    seen = decoding.instrument(SimpleNamespace(datasets=parts))
    assert seen is not None
    for part in parts:
        part.load_image(0)
    assert seen.seconds == 3.0


def classification(*, ram: bool = False, disk: bool = False) -> Any:
    """A data set of classification, of the newest version."""

    def imread(path: str) -> str:
        CLOCK[0] += 1.0
        return f"image of {path}"

    return SimpleNamespace(cache_ram=ram, cache_disk=disk, imread=imread)


def test_classification(tmp_path: Path) -> None:
    """Its `imread` is told the file."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1234")
    images = classification()
    seen = decoding.instrument(images)
    assert images.imread(str(file)) == f"image of {file}"
    assert seen is not None
    assert [(one.path, one.size) for one in seen.longest] == [(str(file), 4)]


@pytest.mark.parametrize(
    "images",
    [
        classification(ram=True),
        classification(disk=True),
        SimpleNamespace(cache_ram=False, cache_disk=False),
        SimpleNamespace(imread=print),
        SimpleNamespace(),
    ],
)
def test_not_seen_is_absent(images: Any) -> None:
    """A cache that goes round `imread`, an older version, a data set of one's own: not 0, but nothing."""
    assert decoding.instrument(images) is None


def test_earlier_worker_counts() -> None:
    """What the worker before had seen stays in the list, as far as it is still among the slowest."""
    seen = decoding.Decoding()
    seen.remember(3.0, "/a", 0.0, None)
    seen.merge([SlowFile(float(number), 1, f"/{number}") for number in range(5)] + [SlowFile(1.5, 1, "/a")])
    assert [file.path for file in seen.longest] == ["/4", "/a", "/3", "/2", "/1"]
    assert len(seen.longest) == SLOW_FILES
    assert seen.least == 1.0
