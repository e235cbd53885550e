"""Operations of an image as the hooks count them and as torch does, and how long the hooks take for it.

python tests/benchmarks/bench_flops.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import torch  # noqa: E402
import ultralytics  # noqa: E402
from yoloscope_hooks import flops  # noqa: E402

from tests.trainer_hooks.yoloscope_hooks.test_flops import MODELS, counted_by_torch, trainer  # noqa: E402

SIZES = (64, 160, 320)


def main() -> None:
    """Print a table for docs/benchmarks.md."""
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)  # imports what every training has imported by then
    print("| model | size | hooks | torch | difference | CPU time of the hooks |\n|---|---|---|---|---|---|")
    for name in MODELS:
        model = ultralytics.YOLO(name).model.train()
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        for size in SIZES:
            began = time.process_time()
            ours = flops.per_image(trainer(model, size)) or 0.0
            took = time.process_time() - began
            theirs = counted_by_torch(model, torch.zeros(2, 3, size, size))
            print(
                f"| {Path(name).stem} | {size} | {ours / 1e9:.4f} G | {theirs / 1e9:.4f} G | {ours / theirs - 1:+.4%} "
                f"| {took * 1e3:.0f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
