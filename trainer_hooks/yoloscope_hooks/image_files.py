"""What an image file is: its pixels, its format, the file system it lies on. Asked of slow files only, a few times."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from typing import Any

#: Of Pillow's `get_sampling`: chroma as fine as luma, which hardly anybody writes.
_UNSAMPLED = 0


def pixels(result: Any) -> tuple[int | None, int | None]:
    """Height and width of an image as it was in its file, from what its reader returned; None where it does not tell.

    `load_image` returns (image, original (height, width), resized one), `imread` the image.
    """
    with suppress(Exception):
        shape = result[1] if isinstance(result, tuple) else result.shape
        height, width = (int(side) for side in shape[:2])
        if height > 0 and width > 0:
            return height, width
    return None, None


def form_of(path: str) -> tuple[str, bool]:
    """The format by the head of the file, and whether it looks like a JPEG that Ultralytics has repaired.

    It has imported Pillow; where that is not so, or does not know the file, the name's ending tells the format.
    """
    pillow = sys.modules.get("PIL.Image")
    with suppress(Exception):
        if pillow is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files that take long, many are very large
                with pillow.open(path) as image:
                    return str(image.format), image.format == "JPEG" and _is_repaired(image)
    return os.path.splitext(path)[1][1:].upper(), False  # noqa: PTH122 - a file of the user


def _is_repaired(image: Any) -> bool:
    """Ultralytics writes a JPEG without an end mark at its end anew: quality 100, all chroma, which few others do."""
    plugin = sys.modules.get("PIL.JpegImagePlugin")
    finest = all(value == 1 for table in image.quantization.values() for value in table)
    return finest and plugin is not None and plugin.get_sampling(image) == _UNSAMPLED


def filesystem_of(path: str) -> str:
    """The type of the file system a file lies on, by its device in this process's mounts; empty where not known."""
    with suppress(OSError, ValueError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:  # noqa: PTH123
        device = os.stat(path).st_dev  # noqa: PTH116 - a file of the user
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in mounts:  # ID parent MAJOR:MINOR root point options [more] - TYPE source options
            fields, _, rest = line.partition(" - ")
            if fields.split(" ", 3)[2] == number:
                return rest.split(" ", 1)[0]
    return ""
