"""The demo's training, run as a process of its own: `python -m yoloscope_exporter.demo.training DATA key=value ...`.

The arguments after the data set are Ultralytics' own (`workers=1 cache=ram`). It is started through `yoloscope run`, so
nothing here mentions yoloscope: that is how anybody's train.py looks. Two additions are for laptops without a GPU:
Ultralytics trains with `workers=0` on the CPU whatever is asked for, so the number is put back before the loader is
built; and torch computes in one thread, because images this small gain nothing from more, which wait for each other
where something else runs.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml


def main(data: str, *arguments: str) -> None:
    """Train a small detector on `data` with Ultralytics `arguments`."""
    import torch  # noqa: PLC0415 - comes with the extra `train`
    from ultralytics import YOLO  # noqa: PLC0415 - AGPL-3.0: only the demo and the tests import it

    options: dict[str, Any] = {
        key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in arguments)
    }

    def adapt(trainer: Any) -> None:  # noqa: ANN401 - Ultralytics' trainer
        trainer.args.workers = options["workers"]
        torch.set_num_threads(1)

    model = YOLO("yolo11n.yaml")
    model.add_callback("on_pretrain_routine_start", adapt)
    model.train(data=data, device="cpu", amp=False, plots=False, verbose=False, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
