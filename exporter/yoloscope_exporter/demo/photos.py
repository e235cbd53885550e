"""A data set as cameras deliver it: photographs far larger than the network's input, each with one labelled square.

Decoding them is what starves the training of the demo. Nothing is simulated: a JPEG of 12 megapixels takes a CPU a
tenth of a second or more, at every epoch anew, unless it is cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEIGHT, WIDTH = 3000, 4000
SQUARE = 0.4  # side of the labelled square, as a share of the photograph


def write(root: Path, *, train: int, val: int) -> Iterator[int]:
    """Write `train` and `val` photographs with labels below `root` in YOLO's layout, yielding how many are done."""
    import cv2  # noqa: PLC0415 - comes with the extra `train`
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(0)
    scene = cv2.resize(random.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    grain = random.integers(0, 40, scene.shape, dtype=np.uint8)  # noise is what makes photographs costly to decode
    background = cv2.add(scene, grain)
    parts = [("train", index) for index in range(train)] + [("val", index) for index in range(val)]
    for done, (part, index) in enumerate(parts, start=1):
        _write_one(root, f"{part}/{index:03}", background.copy(), random.uniform(0, 1 - SQUARE, 2))
        yield done
    (root / "data.yaml").write_text(
        f"path: {root}\ntrain: images/train\nval: images/val\nnames:\n  0: square\n", encoding="utf-8"
    )


def _write_one(root: Path, name: str, photo: Any, corner: Any) -> None:  # noqa: ANN401 - arrays
    import cv2  # noqa: PLC0415

    size = (WIDTH, HEIGHT)
    first, second = ([int(share * side) for share, side in zip(corner + add, size, strict=True)] for add in (0, SQUARE))
    cv2.rectangle(photo, first, second, (0, 0, 255), -1)
    image, label = root / "images" / f"{name}.jpg", root / "labels" / f"{name}.txt"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])
    x, y = corner + SQUARE / 2
    label.write_text(f"0 {x:.5f} {y:.5f} {SQUARE} {SQUARE}\n")
