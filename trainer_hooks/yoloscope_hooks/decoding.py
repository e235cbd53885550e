"""Reading and decoding images, inside a loader worker: how long it takes, and with which files it took longest.

Ultralytics' data sets read an image in one method, and call it for every image that a mosaic needs. That method is
wrapped on the data set itself: it is the worker's own copy, and nothing that another process will ever see. Data sets
without such a method are not measured: classification has one in newer versions only, and goes round it with a cache.
"""

from __future__ import annotations

import os
from contextlib import suppress
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from yoloscope_record.loader_facts import SLOW_FILES, SlowFile

from yoloscope_hooks import image_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Function = Callable[..., Any]

_DECODING = "_yoloscope_decoding"


class Decoding:
    """What one worker's reading and decoding has cost."""

    def __init__(self) -> None:
        """Start empty."""
        self.seconds = 0.0
        self.longest: list[SlowFile] = []  # the slowest first
        self.least = 0.0  # seconds above which a file gets into that list
        self.changed = False

    def remember(self, seconds: float, path: str, computing: float, result: Any) -> None:
        """Take a file into the list; it stands there once, with the longest it took.

        `computing` are its seconds on a CPU, `result` is what its reader returned.
        """
        size = None
        with suppress(OSError):
            size = os.stat(path).st_size  # noqa: PTH116 - a file of the user, by the name the data set has
        height, width = image_files.pixels(result)
        form, repaired = image_files.form_of(path)
        filesystem = image_files.filesystem_of(path)
        self.merge([SlowFile(seconds, size, path, min(computing, seconds), width, height, form, filesystem, repaired)])

    def merge(self, files: Iterable[SlowFile]) -> None:
        """Take files into the list, of this worker or of one before it."""
        best: dict[str, SlowFile] = {}
        for file in sorted([*self.longest, *files], reverse=True, key=lambda file: file.seconds):
            best.setdefault(file.path, file)
        self.longest = list(best.values())[:SLOW_FILES]
        self.least = self.longest[-1].seconds if len(self.longest) == SLOW_FILES else 0.0
        self.changed = True


def instrument(dataset: Any) -> Decoding | None:
    """Measure the reading and decoding of a data set, also of one made of several; None if it is not seen."""
    decoding = Decoding()
    instrumented = [_instrument(part, decoding) for part in getattr(dataset, "datasets", (dataset,))]
    return next(filter(None, instrumented), None)


def _instrument(dataset: Any, decoding: Decoding) -> Decoding | None:
    for name, wrapper in _readers(dataset):
        function = getattr(dataset, name, None)
        if hasattr(function, _DECODING):  # torch resumes a worker with another fetcher and the same data set
            return getattr(function, _DECODING)  # type: ignore[no-any-return]
        if callable(function):
            measured = wrapper(function, dataset, decoding)
            setattr(measured, _DECODING, decoding)
            setattr(dataset, name, measured)
            return decoding
    return None


def _readers(dataset: Any) -> Iterator[tuple[str, Callable[[Function, Any, Decoding], Function]]]:
    """Methods that read every image of a data set."""
    yield "load_image", _by_index
    if not (getattr(dataset, "cache_ram", True) or getattr(dataset, "cache_disk", True)):
        yield "imread", _by_path  # classification


def _by_index(function: Function, dataset: Any, decoding: Decoding) -> Function:
    """`load_image(i)`. Images that are in memory already count with the nothing they take, and are no slow files."""
    images = getattr(dataset, "ims", ())

    def load_image(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            held = images[args[0]] is not None
        except Exception:  # a data set of another kind: what was read is not known
            held = True
        computed = 0.0 if held else thread_time()
        result = function(*args, **kwargs)
        took = perf_counter() - began
        decoding.seconds += took
        if took > decoding.least and not held:
            with suppress(Exception):
                decoding.remember(took, _file(dataset, args[0]), thread_time() - computed, result)
        return result

    return load_image


def _file(dataset: Any, index: int) -> str:
    """The file that was read for an image."""
    if dataset.cache == "disk" and dataset.npy_files[index].exists():
        return str(dataset.npy_files[index])
    return str(dataset.im_files[index])


def _by_path(function: Function, _dataset: Any, decoding: Decoding) -> Function:
    """`imread(path)`."""

    def imread(*args: Any, **kwargs: Any) -> Any:
        began, computed = perf_counter(), thread_time()
        result = function(*args, **kwargs)
        took = perf_counter() - began
        decoding.seconds += took
        if took > decoding.least and args:
            with suppress(Exception):
                decoding.remember(took, str(args[0]), thread_time() - computed, result)
        return result

    return imread
