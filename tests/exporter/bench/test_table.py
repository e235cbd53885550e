"""What is shown: the same cells for the terminal, Markdown and HTML, and what follows from them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from yoloscope_exporter.bench import page, table
from yoloscope_exporter.bench.agreement import Agreement
from yoloscope_exporter.bench.plan import Found, Key, Line, Plan

PLAN = Plan("yolo11n.pt", "python", ("pt", "onnx", "openvino"), (1,), device="cpu")
MACHINE = {"date": "2026-11-27T13:00:00Z", "cores": 2, "load": 0.1, "device": "2 CPUs (some)"}
SAME = Agreement(132, 132, 0.02, 1e-6)


def line(seconds: float, found: Agreement | None = SAME, **more: Any) -> Line:
    rounds = {number: [seconds * (1 + number / 1000)] * 3 for number in range(10)}
    return Line(
        "", 5 * 2**20, 1.5, rounds, {"inference": seconds * 15}, {"resident": 2**29, "peak": 2**30}, found, **more
    )


def made(**formats: Line) -> Found:
    facts = {"versions": {"torch": "2.9", "ultralytics": "8.4"}}
    model = {"task": "detect", "random": False, "count": 16, "origin": "drawn"}
    return Found(
        facts, model, {"conf": [0.25] * 16, "lower": 0.2}, {Key(1, name): one for name, one in formats.items()}
    )


def cells(found: Found, name: str) -> dict[str, str]:
    row = next(one for one in table.rows(found) if one.key.format == name)
    return dict(zip(table.heads(found), row.cells, strict=True))


def test_the_cells_of_a_line() -> None:
    """Speed with its interval, the ratio to pt, latencies, memory, size, agreement."""
    found = made(pt=line(0.1), onnx=line(0.05))
    told = cells(found, "onnx")
    assert told["images/s"] == "19.91 \u00b10.2%"
    assert told["speed"] == "1.91x to 2.09x"
    assert told["p50"].startswith("50.2 ms")
    assert told["p99"].startswith("max 50.4")
    assert told["memory"] == "512 MiB (peak 1 GiB)"
    assert told["file"] == "5 MiB"
    assert told["agreement"] == "100.0% of 132, shift \u2264 0.02 px, score \u2264 1e-06"
    assert cells(found, "pt")["speed"] == "1"


def test_an_interval_that_says_nothing_is_left_out() -> None:
    """Of two rounds that differ: neither how fast it is, nor against what, but what its calls took."""
    found = made(pt=line(0.1), onnx=replace(line(0.1), rounds={0: [0.02] * 3, 1: [0.2] * 3}))
    assert table.compared(found, 1, "pt")["onnx"].high > 100
    told = cells(found, "onnx")
    assert (told["images/s"], told["speed"], told["p50"]) == ("9.091", "-", "110 ms")


def test_the_gpu_has_a_column_where_there_is_one() -> None:
    """On a CPU it is left out, not zero."""
    found = made(pt=line(0.1))
    assert "GPU memory" not in table.heads(found)
    found.lines[Key(1, "pt")].memory |= {"gpu_resident": 2**30, "gpu_peak": 2**31}
    assert cells(found, "pt")["GPU memory"] == "1 GiB (peak 2 GiB)"


def test_the_fastest_is_named_with_what_equals_it() -> None:
    """And nothing where no format is faster by more than chance."""
    (told,) = table.conclusions(made(pt=line(0.1), onnx=line(0.05), openvino=line(0.0505)))
    assert told.startswith("batch 1: onnx is fastest, 1.91x to 2.09x as fast as pt; between onnx and")
    (told,) = table.conclusions(made(pt=line(0.1), onnx=line(0.05), openvino=line(0.02)))
    assert told.startswith("batch 1: openvino is fastest, 4.78x to 5.23x as fast as pt")
    assert "between" not in told
    (told,) = table.conclusions(made(pt=line(0.1), onnx=line(0.099), openvino=line(0.2)))
    assert told == "batch 1: no format is faster than pt by more than chance"


def test_speed_is_not_bought_with_wrong_boxes() -> None:
    """The fastest of those that find the same is named; the other one is told with what it misses."""
    told = table.conclusions(made(pt=line(0.1), onnx=line(0.05), openvino=line(0.02, Agreement(132, 120, 9.0, 0.4))))
    assert told[0].startswith("batch 1: onnx is fastest")
    assert told[1] == ("batch 1: openvino finds something else than the .pt model: 12 of 132 have no counterpart")


def test_random_weights_and_empty_images_are_told() -> None:
    """What the agreement means there."""
    found = made(pt=line(0.1, Agreement(0, 0)), onnx=line(0.05, Agreement(0, 0)))
    assert cells(found, "pt")["agreement"] == "nothing detected"
    found.model["random"] = True
    told = "\n".join(table.conclusions(found))
    assert "batch 1: onnx is fastest" in told
    assert "the weights are random" in told
    assert "--source DIR" in told


def test_without_pt_the_first_is_the_measure() -> None:
    """Of those that were measured."""
    found = made(openvino=Line("not installed: pip install openvino"), onnx=line(0.05), torchscript=line(0.1))
    assert table.baseline(found, 1) == "onnx"
    assert cells(found, "torchscript")["speed"].startswith("0.4")


def test_failures_are_lines() -> None:
    """Once for all batches where it is the same; a line that failed half way has its cells, too."""
    half_way = line(0.05)
    half_way.failure = "killed by SIGKILL: out of memory?"
    found = made(pt=line(0.1), onnx=half_way, openvino=Line("not installed: pip install openvino"))
    found.lines |= {Key(8, "pt"): line(0.5), Key(8, "openvino"): Line("not installed: pip install openvino")}
    assert table.failures(found) == [
        "onnx, batch 1: killed by SIGKILL: out of memory?",
        "openvino: not installed: pip install openvino",
    ]
    assert cells(found, "onnx")["images/s"].startswith("19.9")


def test_all_documents_have_the_same_cells() -> None:
    """Terminal, Markdown and HTML."""
    found = made(pt=line(0.1), onnx=line(0.05), openvino=Line("not installed: <pip>"))
    console = Console(width=250)
    with console.capture() as capture:
        console.print(table.terminal_table(found, 250))
    texts = [capture.get(), table.markdown(PLAN, found, MACHINE), page.page(PLAN, found, MACHINE)]
    for row in table.rows(found):
        for cell in row.cells:
            assert all(cell in text for text in texts)
    assert "openvino: not installed: <pip>" in texts[1]
    assert "openvino: not installed: &lt;pip&gt;" in texts[2]
    assert "://" not in texts[2]


def test_a_narrow_terminal_shows_every_word() -> None:
    """Cells wrap there; no column is without its figures."""
    found = made(pt=line(0.1), torchscript=line(0.05))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table.terminal_table(found, 80))
    shown = capture.get()
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert {word for row in table.rows(found) for cell in row.cells for word in cell.split()} <= set(shown.split())


def test_json_has_what_is_known() -> None:
    """And leaves out what is not."""
    found = made(pt=line(0.1), onnx=line(0.05), openvino=Line("not installed: pip install openvino"))
    told = json.loads(json.dumps(table.document(PLAN, found, MACHINE, interrupted=True), allow_nan=False))
    pt, onnx, openvino = told["lines"]
    assert onnx["times_as_fast"]["as"] == "pt"
    assert onnx["times_as_fast"]["sure"] is True
    assert "times_as_fast" not in pt
    assert onnx["agreement"] == {
        "counted": 132,
        "matched": 132,
        "shift": 0.02,
        "score": 1e-6,
        "share": 1.0,
        "agrees": True,
    }
    assert onnx["stages"]["inference"] == pytest.approx(0.025, rel=0.01)
    assert "p99" not in onnx
    assert openvino == {"format": "openvino", "batch": 1, "failure": "not installed: pip install openvino"}
    assert told["interrupted"] is True
    assert told["machine"] == MACHINE


def test_json_has_no_number_that_is_none() -> None:
    """Whatever a library tells: one such number does not cost the rest."""
    found = made(pt=line(0.1), onnx=line(0.05, Agreement(3, 1, score=math.nan)))
    found.lines[Key(1, "pt")].stages["postprocess"] = math.inf
    found.scores["conf"] = [0.25, math.nan]
    told = json.loads(json.dumps(table.document(PLAN, found, MACHINE, interrupted=False), allow_nan=False))
    pt, onnx = told["lines"]
    assert onnx["agreement"] == {"counted": 3, "matched": 1, "share": pytest.approx(1 / 3), "agrees": False}
    assert list(pt["stages"]) == ["inference"]
    assert told["scores"] == {"lower": 0.2}
    assert len(pt["rounds"]) == 10
