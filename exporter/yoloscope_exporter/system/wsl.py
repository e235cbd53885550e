"""WSL2: Linux in a virtual machine of Windows, whose driver and drives are those of Windows."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

from yoloscope_exporter.language import text

#: NVML of the driver on Windows. A package of a distribution may have put one of its own into the loader's path, which
#: finds no driver (ollama/ollama#1897, Syllo/nvtop#441).
LIBRARY = Path("/usr/lib/wsl/lib/libnvidia-ml.so.1")
#: What the driver of Windows does not tell in WSL2, by NVIDIA's CUDA on WSL user guide and what users report of it.
LACKS = text("the driver does not tell what memory single processes have on a GPU")
_KERNEL = re.compile("microsoft-standard|WSL2", re.IGNORECASE)  # Docker Desktop's machine has the same kernel


def is_wsl2(procfs: Path) -> bool:
    """Whether this kernel is the one of WSL2, in a distribution or in a container of Docker Desktop."""
    with suppress(OSError):
        return bool(_KERNEL.search((procfs / "sys/kernel/osrelease").read_text(encoding="utf-8", errors="replace")))
    return False


def prefer_windows_driver(library: Path = LIBRARY) -> None:
    """Let the loader answer every later request for NVML with the one of Windows' driver, where there is one."""
    if library.exists():
        with suppress(OSError):
            ctypes.CDLL(str(library))
