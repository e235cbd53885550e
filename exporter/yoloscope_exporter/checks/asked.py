"""What a Python has to train with: run by that Python, 3.8 and newer, which answers with one line of JSON.

Whether CUDA can be used is asked of torch, which asks the driver how many devices there are: no context is made and no
GPU memory taken, so that a training on the same GPU does not notice.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import warnings
from contextlib import suppress
from importlib import metadata
from typing import Any

PACKAGES = ("torch", "torchvision", "ultralytics")


def versions() -> dict[str, str]:
    """Of the packages that are installed; nothing is imported."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def of_torch() -> dict[str, Any]:
    """What it was built for, and which GPUs it can use."""
    import torch  # noqa: PLC0415 - only the Python that runs this has it

    return {
        "cuda": torch.version.cuda or "",
        "hip": getattr(torch.version, "hip", None) or "",
        "usable": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "built_for": torch.cuda.get_arch_list(),
    }


def main() -> None:
    """Answer, after anything that others print."""
    if hasattr(os, "nice"):
        os.nice(10)
    answer: dict[str, Any] = {"python": platform.python_version(), "versions": versions()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if "torch" in answer["versions"]:
            try:
                answer.update(of_torch())
            except Exception as error:  # noqa: BLE001 - a library that is missing raises OSError, others as they like
                answer["error"] = f"{type(error).__name__}: {error}"
    answer["said"] = next((str(one.message) for one in caught if "CUDA" in str(one.message)), "")
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
