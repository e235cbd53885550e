"""Recordings as a Prometheus that federates several clusters would give them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yoloscope_exporter.recordings.writer import Writer

from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from pathlib import Path

_SAMPLE = re.compile(r"^(yoloscope_\w+)(?:\{(.*)\})? ", re.MULTILINE)


def federated(folder: Path, **plans: Plan) -> Path:
    """A file with a training of each cluster, on nodes with the same address."""
    texts = []
    for cluster, plan in plans.items():
        plain = folder / f"{cluster}.om"
        writer = Writer(plain)
        for time, samples in moments(plan, 2.0):
            writer.samples(time, samples)
        writer.close()
        target = f'cluster="{cluster}",job="yoloscope",instance="10.0.0.7:9911"'
        texts.append(_SAMPLE.sub(lambda found, own=target: f"{found[1]}{{{own},{found[2] or ''}}} ", plain.read_text()))
    path = folder / "federated.om"
    path.write_text("".join(texts))
    return path
