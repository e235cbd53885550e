"""A fake NVML: a shared library for the real nvidia-ml-py, built with the system's compiler, driven by a text file.

A child process finds it through `FakeNvml.environment()`: the loader reads LD_LIBRARY_PATH once, when a process
starts, so it cannot be set for the process that is already running. For that one, `FakeNvml.in_process()` loads the
library by its full path; as its soname is `libnvidia-ml.so.1`, the loader then answers pynvml's request for that name
with the library it already has.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import subprocess
import tempfile
from _ctypes import dlclose
from pathlib import Path
from typing import TYPE_CHECKING

import pynvml

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HERE = Path(__file__).parent
SOURCE = HERE / "fake_nvml.c"
SCENARIOS = HERE / "scenarios"
SONAME = "libnvidia-ml.so.1"
STEP = "==="

#: What a driver of the R470 branch does not export and ours may ask for.
NEWER_SYMBOLS = (
    "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetSramEccErrorStatus",
    "nvmlDeviceGetTemperatureV",
    "nvmlGpmMetricsGet",
    "nvmlGpmMigSampleGet",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc",
    "nvmlGpmSampleFree",
    "nvmlGpmSampleGet",
)


def build(*, without: Iterable[str] = (), driver_version: str = "") -> Path:
    """Compile the library, once per source and choice of options.

    Args:
        without: symbols to leave out, as an older driver does.
        driver_version: makes this the user-space part of one driver; with another `driver_version` in the control
            file nvmlInit then answers LIB_RM_VERSION_MISMATCH. Empty: it fits every driver.

    Returns:
        The directory that holds `libnvidia-ml.so.1`.
    """
    compiler = require_binary("cc")
    exports = "{ global: nvml*; fake_nvml_*; local: " + "".join(f"{name}; " for name in sorted(without)) + "*; };\n"
    defines = [f'-DFAKE_NVML_DRIVER_VERSION="{driver_version}"'] if driver_version else []
    key = hashlib.sha256("\0".join([SOURCE.read_text(), exports, *defines]).encode()).hexdigest()[:16]
    directory = HERE.parents[1] / "build" / "fake_nvml" / key
    if not (directory / SONAME).exists():
        directory.mkdir(parents=True, exist_ok=True)
        _compile(compiler, directory, exports, defines)
    return directory


def _compile(compiler: str, directory: Path, exports: str, defines: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as work:
        script, library = Path(work, "exports.map"), Path(work, SONAME)
        script.write_text(exports)
        flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
        linker = [f"-Wl,-soname,{SONAME}", f"-Wl,--version-script,{script}"]
        command = [compiler, *flags, *linker, *defines, str(SOURCE), "-o", str(library), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        library.replace(directory / SONAME)  # whole or not at all: tests may run side by side


def steps(scenario: str) -> list[dict[str, str]]:
    """The control lines of a scenario, one mapping per step; every step contains those before it."""
    current: dict[str, str] = {}
    result: list[dict[str, str]] = []
    for text in (SCENARIOS / f"{scenario}.conf").read_text().split(f"\n{STEP}"):
        rest = text.partition("\n")[2] if result else text  # behind the separator stands a title
        current = _later_wins(current, _lines(rest))
        result.append(dict(current))
    return result


def _later_wins(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Merge so that new lines stand last: `gpu.*.lost` then also beats an older `gpu.0.lost`."""
    return {key: value for key, value in old.items() if key not in new} | dict(new)


def _lines(text: str) -> dict[str, str]:
    bare = (line.partition("#")[0].strip() for line in text.splitlines())
    pairs = (line.partition(" ") for line in bare if line)
    return {key: value.strip() for key, _, value in pairs}


class FakeNvml:
    """A control file and a library that obeys it.

    Attributes:
        control: the file, to be changed through the methods.
        library: directory of the shared library.
    """

    def __init__(
        self, directory: Path, lines: Mapping[str, object] | None = None, *, library: Path | None = None
    ) -> None:
        """Start with `lines` (see README.md); without any it is one idle H100."""
        self.control = directory / "fake_nvml.conf"
        self.library = library or build()
        self._lines: dict[str, str] = {}
        self.set(lines or {})

    def set(self, lines: Mapping[str, object]) -> None:
        """Add or change control lines; the library sees all of them at once, on its next call."""
        self._lines = _later_wins(self._lines, {key: str(value) for key, value in lines.items()})
        self._write()

    def unset(self, *keys: str) -> None:
        """Take control lines away, so that their defaults hold again."""
        self._lines = {key: value for key, value in self._lines.items() if key not in keys}
        self._write()

    def _write(self) -> None:
        temporary = self.control.with_suffix(".new")
        temporary.write_text("".join(f"{key} {value}\n" for key, value in self._lines.items()))
        temporary.replace(self.control)

    def environment(self) -> dict[str, str]:
        """This process's environment, changed so that a child process finds the fake."""
        paths = [str(self.library), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(paths), "FAKE_NVML_CONTROL": str(self.control)}

    @contextlib.contextmanager
    def in_process(self) -> Iterator[InProcess]:
        """Make pynvml in this process use the fake until the block ends."""
        before = os.environ.get("FAKE_NVML_CONTROL")
        os.environ["FAKE_NVML_CONTROL"] = str(self.control)
        forget_library()
        handle = ctypes.CDLL(str(self.library / SONAME))
        try:
            yield InProcess(handle)
        finally:
            forget_library()
            dlclose(handle._handle)
            os.environ.pop("FAKE_NVML_CONTROL")
            if before is not None:
                os.environ["FAKE_NVML_CONTROL"] = before


class InProcess:
    """What a test may ask of the library beside NVML."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        """Wrap the loaded library."""
        handle.fake_nvml_set_clock.argtypes = [ctypes.c_double]
        handle.fake_nvml_calls.restype = handle.fake_nvml_all_calls.restype = ctypes.c_uint64
        handle.fake_nvml_gpm_samples_alive.restype = handle.fake_nvml_event_sets_alive.restype = ctypes.c_long
        self._handle = handle

    def set_clock(self, seconds: float) -> None:
        """Stop the fake's clock at this Unix time, whatever the control file says; 0 lets it run again."""
        self._handle.fake_nvml_set_clock(seconds)

    def calls(self, function: str = "") -> int:
        """Calls so far of one NVML function, or of all."""
        return int(self._handle.fake_nvml_calls(function.encode()) if function else self._handle.fake_nvml_all_calls())

    def gpm_samples_alive(self) -> int:
        """GPM samples allocated and not freed."""
        return int(self._handle.fake_nvml_gpm_samples_alive())

    def event_sets_alive(self) -> int:
        """Event sets created and not freed."""
        return int(self._handle.fake_nvml_event_sets_alive())


def forget_library() -> None:
    """Make pynvml look for the library anew at the next nvmlInit."""
    if pynvml.nvmlLib is not None:
        dlclose(pynvml.nvmlLib._handle)
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml._nvmlLib_refcount = 0
