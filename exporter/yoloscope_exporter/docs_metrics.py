"""Writes docs/metrics.md from the catalogue: `python -m yoloscope_exporter.docs_metrics [--check] [FILE]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Metric

DEFAULT = Path(__file__).parents[2] / "docs" / "metrics.md"

#: Title of a section -> first words of the metrics in it.
SECTIONS = {
    "The exporter itself": ("build", "collector", "exporter", "samples", "snapshot"),
    "GPU": ("gpu",),
    "Host": ("cpu", "context", "disk", "filesystem", "load", "memory", "network", "pressure", "swap"),
    "The cgroup of each run": ("cgroup",),
    "Trainings": ("train",),
}
_HEAD = """\
# Metrics

Generated from `exporter/yoloscope_exporter/catalog.py` by `make generate`; do not edit.

Base units; ratios are 0 to 1; `_total` is a counter, `_info` carries facts in its labels and is always 1. What could
not be measured is absent. A histogram has the usual `_bucket`, `_sum` and `_count`. `instance` and `job` are added by
Prometheus. Facts are joined where they are needed:

    rate(yoloscope_gpu_busy_seconds_total[1m]) * on (instance, gpu) group_left (name) yoloscope_gpu_info
"""


def document() -> str:
    """The whole file.

    Raises:
        LookupError: a metric belongs to no section.
    """
    known = {word for words in SECTIONS.values() for word in words}
    lost = [metric.name for metric in catalog.METRICS if metric.area not in known]
    if lost:
        raise LookupError(f"no section of docs/metrics.md for {', '.join(lost)}")
    return _HEAD + "".join("\n".join(_section(title, words)) for title, words in SECTIONS.items())


def _section(title: str, words: tuple[str, ...]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for metric in catalog.METRICS:
        if metric.area in words:
            yield _row(metric)
    yield ""


def _row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    bounds = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help}{bounds} |"


@click.command()
@click.option("--check", is_flag=True, help="Only compare; exit 1 if the file is not what the catalogue says.")
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT)
def main(file: Path, *, check: bool) -> None:
    """Write FILE (docs/metrics.md) from the catalogue of metrics."""
    text = document()
    if not check:
        file.write_text(text, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        raise click.ClickException(f"{file} is not what the catalogue says: make generate")


if __name__ == "__main__":
    main()
