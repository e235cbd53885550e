"""What only a real GPU can show, in about six minutes, on a machine that reaches nothing.

    make gpu-kit                                  # where there is a package index: puts wheels beside the kit
    python -m tests.gpu.kit --out DIR             # on the machine with the GPU: six minutes
    python -m tests.gpu.kit --out DIR --parts machine,phases --cases gpu_fed,gpu_leak

What stands by itself takes more time and is asked for by name: square, memory, bench, pairs.

DIR gets kit.json, kit.md, the recordings of its trainings, and what the commands printed. PyTorch must be there, what
else is missing comes from the wheels. Without a GPU all parts run on the CPU and a fake NVML, small, and kit.md
says that no GPU was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WHEELS = HERE / "wheels"


def _bring_wheels() -> None:
    """Install the wheels where nothing else is touched, and start anew with them."""
    if os.environ.get("YOLOSCOPE_KIT") or not WHEELS.exists():
        return
    site = tempfile.mkdtemp(prefix="kit-site-")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--target",
        site,
    ]
    subprocess.run([*pip, *map(str, sorted(WHEELS.glob("*.whl")))], check=True)
    if not _has_polars(site):  # 54 MB for the results in a checkpoint; Ultralytics goes on where they cannot be read
        Path(site, "polars.py").write_text('def read_csv(*_, **__):\n    raise OSError("not carried")\n')
    paths = [site, str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]
    environment = os.environ | {"YOLOSCOPE_KIT": site, "PYTHONPATH": os.pathsep.join(paths)}
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "tests.gpu.kit", *sys.argv[1:]], environment)


def _has_polars(site: str) -> bool:
    code = "import polars"
    return (
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": site}, stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.kit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for what was seen")
    parser.add_argument(
        "--parts", default="machine,driver_calls,hang,phases,trainings,cost,diagnoses,predictions,tune,tests"
    )
    parser.add_argument("--cases", default="", help="trainings, by name; by default those that fit into six minutes")
    parser.add_argument("--device", default="", help="as Ultralytics takes it; the first GPU by default, else cpu")
    arguments = parser.parse_args()
    _bring_wheels()
    from tests.gpu.kit import commands, parts, report  # noqa: PLC0415 - what they import has come by now
    from tests.gpu.kit.cases import SIX_MINUTES  # noqa: PLC0415

    arguments.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in arguments.cases.split(",") if name] or list(SIX_MINUTES)
    device = arguments.device or (
        "0" if Path("/proc/driver/nvidia").exists() or Path("/dev/nvidia0").exists() else "cpu"
    )
    small = device == "cpu"
    work = Path(tempfile.mkdtemp(prefix="kit-"))
    kit = parts.Kit(arguments.out, work, device=device)
    began = time.monotonic()
    chosen = {
        "machine": lambda: parts.machine(kit),
        "driver_calls": lambda: parts.driver_calls(kit),
        "diagnoses": lambda: parts.diagnoses(kit),
        "tests": lambda: parts.tests(kit),
        "phases": lambda: parts.phases(kit),
        "square": lambda: parts.square(kit, 12 if small else 40),
        "memory": lambda: parts.memory(kit, (2, 4) if small else (8, 16, 32, 64)),
        "pairs": lambda: parts.pairs(kit, 1 if small else 2, 6),
        "trainings": lambda: parts.trainings(kit, names),
        "predictions": lambda: commands.predictions(kit, 3 if small else 8),
        "hang": lambda: commands.hang(kit),
        "tune": lambda: commands.tune(kit, 30 if small else 90),
        "bench": lambda: commands.bench(kit, 1 if small else 3),
        "cost": lambda: parts.cost(kit, time.monotonic() - began),
    }
    found: dict[str, object] = {"date": time.strftime("%Y-%m-%d"), "device": device}
    with kit.serving():
        kit.prepare()
        for part in arguments.parts.split(","):
            at = time.monotonic()
            print(f"{at - began:6.1f} s  {part} ...", flush=True)
            try:
                found[part] = chosen[part]()
            except Exception as error:  # noqa: BLE001 - the other parts are worth having
                found[part] = {"error": repr(error)}
                traceback.print_exc()
            found[f"{part}_took"] = round(time.monotonic() - at, 1)
            (arguments.out / "kit.json").write_text(json.dumps(found, indent=1))
    text = report.markdown(found)
    (arguments.out / "kit.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
