"""Answers as `worker.py` does, at once and without Ultralytics; what it gets wrong, and how, is named in $STUB.

$STUB is JSON: `{"export onnx": "raise"}`; `raise`, `die`, `kill`, `sleep` and `cpu` (it ran on the CPU) are known. What
it is asked is written to $STUB_LOG, a line each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

FAULTS = json.loads(os.environ.get("STUB", "{}"))
SECONDS = {"pt": 0.02, "torchscript": 0.0201, "onnx": 0.01, "openvino": 0.01}
BOX = {"class": 0, "score": 0.9, "corners": [10.0, 10.0, 50.0, 50.0]}


def main() -> None:
    name = "pt"
    for line in sys.stdin:
        told = json.loads(line)
        what = told["do"]
        if what == "load":
            name = Path(told["path"]).suffix.lstrip(".")
        _note(" ".join((what, told.get("format") or told.get("device") or name)))
        fault = FAULTS.get(what) or FAULTS.get(f"{what} {told.get('format', name)}", "")
        try:
            reply = {"ok": _answer(what, told, name, fault)}
        except ValueError as error:
            reply = {"error": f"ValueError: {error}"}
        print(json.dumps(reply), flush=True)


def _note(text: str) -> None:
    if "STUB_LOG" in os.environ:
        with Path(os.environ["STUB_LOG"]).open("a") as file:
            file.write(text + "\n")


def _answer(what: str, told: dict, name: str, fault: str) -> object:
    _go_wrong(fault)
    if what == "load":
        return {"device": "cpu" if fault == "cpu" else told["arguments"]["device"], "seconds": 0.1, "pid": os.getpid()}
    if what == "export":
        path = Path(told["folder"], f"m.{told['format']}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("exported")
        return {"path": str(path), "bytes": 8, "seconds": 0.1}
    model = {"task": "detect", "random": False, "images": "", "count": 1, "origin": "drawn", "bytes": 7}
    facts = {"versions": {"torch": "2"}, "modules": ["onnx", "onnxslim", "onnxruntime"]}
    took = SECONDS[name]
    return {
        "facts": {**facts, **(FAULTS.get("facts") or {})},
        "prepare": {**model, "path": f"{told.get('folder')}/m.pt"},
        "scores": {"conf": [0.25], "lower": 0.2},
        "detect": [{"boxes": [BOX]}],
        "measure": {"calls": [took] * 3, "stages": {"inference": took * 2}, "resident": 2**20, "peak": 2**21},
    }[what]


def _go_wrong(fault: str) -> None:
    if fault == "raise":
        raise ValueError("as it was told")
    if fault == "die":
        print("the last that was said", file=sys.stderr)
        sys.exit(3)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "sleep":
        time.sleep(600)


if __name__ == "__main__":
    main()
