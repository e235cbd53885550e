"""kit.json as Markdown: the section of docs/benchmarks.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEEN = Path(__file__).parents[1] / "seen"
Found = dict[str, Any]


def markdown(found: Found) -> str:
    """A section of what was measured; a part that failed says so."""
    lines = [f"## On a real GPU, {found['date']}", "", *_machine(found)]
    for part, write in PARTS.items():
        if told := found.get(part):
            lines += ["", *(_nothing(part, told) or write(told))]
    return "\n".join(lines) + "\n"


def _nothing(part: str, told: Found) -> list[str]:
    return [f"{part}: {told[key]}" for key in ("error", "not seen") if key in told]


def _machine(found: Found) -> Iterator[str]:
    about = found.get("machine", {})
    card = about.get("card") or "no GPU was seen: a CPU and a fake NVML"
    yield f"{found['date']}, {card}, driver {about.get('driver')}, {about.get('cpus')} CPUs, PyTorch"
    yield f"{about.get('torch')}, Ultralytics {about.get('ultralytics')}; `python -m tests.gpu.kit`."
    if "compared_with_nvidia_smi" in about:
        differ = "; ".join(about["differ"]) or "none differed"
        yield f"Figures that `nvidia-smi -q` gives for the same moment: {about['compared_with_nvidia_smi']}; {differ}."


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    columns = list(head)
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def _driver_calls(told: Found) -> Iterator[str]:
    yield "What a cycle of one GPU takes, in wall time, nearly all of it in the driver:"
    yield ""
    rows = [
        (f"`{collector}`", f"{one['median_ms']:.1f} ms", f"{one['worst_ms']:.1f} ms", _dearest(one["calls"]))
        for collector, one in told.items()
    ]
    yield from _table(("collector", "median", "worst", "of that, per cycle"), rows)


def _dearest(calls: dict[str, tuple[float, float]]) -> str:
    ascending = sorted(calls.items(), key=lambda item: -item[1][1])[:3]
    return ", ".join(f"{name.removeprefix('nvmlDevice')} {spent:.1f} ms" for name, (_, spent) in ascending)


def _square(told: Found) -> Iterator[str]:
    gauges = [value for value in told["gauge"] if value == value]  # noqa: PLR0124 - not NaN
    yield f"A GPU that was busy for {told['true']:.1%} of the time, 3 s a period: {told['counter']:.1%} by"
    gauge = f"{min(gauges):.0%} to {max(gauges):.0%}"
    yield f"`gpu_busy_seconds_total`; the gauge at {len(gauges)} moments 3 s apart: {gauge}."


def _phases(told: Found) -> Iterator[str]:
    hooks, profiler = told["hooks"], told["profiler"]
    yield "Milliseconds per batch by the hooks' CUDA events, and of another epoch of the same training by"
    yield "torch.profiler, which makes the host slower:"
    yield ""
    names = ("h2d", "preprocess", "forward", "backward", "optimizer", "other", "data_wait", "callbacks")
    rows = [(name, f"{hooks[name]:.1f}", f"{profiler[name]:.1f}" if name in profiler else "") for name in names]
    rows.append(("kernels and copies, without overlaps", "", f"{profiler['kernels']:.1f}"))
    yield from _table(("phase", "hooks", "profiler"), rows)


def _memory(told: Found) -> Iterator[str]:
    yield "Peak of CUDA memory by batch size (yolo11m, 640 px):"
    yield ""
    rows = [
        (batch, *(f"{one[key] / 2**30:.1f} GiB" if one[key] else "" for key in ("peak_allocated", "peak_reserved")))
        for batch, one in told.items()
    ]
    yield from _table(("batch", "allocated", "reserved"), rows)


def _pairs(told: Found) -> Iterator[str]:
    shares = ", ".join(f"{share:+.2%}" for share in told["median_step_more_by"])
    yield f"The median time between batches with hooks against without, in pairs of trainings: {shares}."


def _judged(name: str, one: Found) -> tuple[str, str, str]:
    """Its name, the verdicts that are right, and those that were told."""
    right, said = (", ".join(f"`{verdict}`" for verdict in one[key]) or "healthy" for key in ("right", "told"))
    return f"`{name}`", right, said


def _hooks(one: Found) -> str:
    return f"{one['hooks_us']:.0f} us" if "hooks_us" in one else ""


def _diagnoses(told: Found) -> Iterator[str]:
    yield "Trainings, each recorded and judged; the hooks' time is `train_hook_seconds_total`:"
    yield ""
    used = {"mfu": "MFU", "tensor_active": "tensor cores active"}
    used = {key: title for key, title in used.items() if any(key in one for one in told.values())}
    rows = [
        (
            *_judged(name, one),
            f"{one['batch_ms']:.0f} ms" if "batch_ms" in one else "",
            _hooks(one),
            *(f"{one[key]:.1%}" if key in one else "" for key in used),
        )
        for name, one in told.items()
    ]
    head = ("training", "right", "told", "training time per batch", "hooks per batch", *used.values())
    yield from _table(head, rows)


def _predictions(told: Found) -> Iterator[str]:
    yield "Predictions of yolo11n (single) and yolo11l (32 images a call), each recorded and judged:"
    yield ""
    rows = [
        (
            *_judged(name, one),
            f"{one['images_per_second']:.0f}" if "images_per_second" in one else "",
            _hooks(one),
        )
        for name, one in told.items()
    ]
    yield from _table(("prediction", "right", "told", "images/s", "hooks per batch"), rows)


def _tune(told: Found) -> Iterator[str]:
    yield f"`yoloscope tune --batch` of a training of yolo11m at 640 px, {told['seconds']:.0f} s:"
    yield ""
    yield from (f"    {line}".rstrip() for line in told["said"])


def _bench(told: Found) -> Iterator[str]:
    yield "`yoloscope bench yolo11n.yaml --half`:"
    yield ""
    yield from (line.replace("# ", "### ", 1) if line.startswith("#") else line for line in told["markdown"])


def _hang(told: Found) -> Iterator[str]:
    yield f"A kernel that does not end, {told['seconds']:.1f} s after `yoloscope stacks` was asked:"
    yield ""
    yield from (f"    {line}".rstrip() for line in told["said"])


def _cost(told: Found) -> Iterator[str]:
    yield f"The exporter beside all that: {told['cores']:.1%} of a core, {told['resident_mb']:.0f} MB, a scrape"
    yield f"{told['scrape_ms_median']:.1f} ms (worst of forty {told['scrape_ms_worst']:.1f} ms)."


def _tests(told: Found) -> Iterator[str]:
    yield "`pytest tests/gpu`:"
    yield ""
    yield from (f"    {line}" for line in told["told"])


PARTS = {
    "driver_calls": _driver_calls,
    "square": _square,
    "phases": _phases,
    "memory": _memory,
    "diagnoses": _diagnoses,
    "predictions": _predictions,
    "tune": _tune,
    "bench": _bench,
    "hang": _hang,
    "pairs": _pairs,
    "cost": _cost,
    "tests": _tests,
}


def sections() -> list[str]:
    """One for each time that a GPU was seen."""
    return [markdown(json.loads(file.read_text())) for file in sorted(SEEN.glob("*.json"))]


def main() -> None:
    """Put what real GPUs showed into docs/benchmarks.md."""
    from tests.benchmarks import page  # noqa: PLC0415 - not where the kit runs

    for section in sections():
        page.write(section)


if __name__ == "__main__":
    main()
