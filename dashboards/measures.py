"""Measures in panels, under the `Scope` whose variables narrow them.

What a quantity is stands in `yoloscope_exporter.measures`; here is how panels ask for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.formula import GPU, RANK
from yoloscope_exporter.measures.promql import WINDOW, Expr, Scope, joined, render

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure


def alive(on: Scope, expr: Expr) -> Expr:
    """Only ranks whose process lives: what their GPU does afterwards is somebody else's."""
    return expr.where(on(m.TRAIN_UP).equals(1), RANK)


def of_ranks(on: Scope, measured: Expr) -> Expr:
    """A GPU's measurement for each rank that trains on it, with the labels of `train_device_info`."""
    return joined(alive(on, on(m.TRAIN_DEVICE_INFO)), measured, GPU)


def measured(on: Scope, measure: Measure, *by: str, window: str = WINDOW) -> Expr:
    """A measure over the window, by the labels `by`."""
    return replace(render(measure.formula, on, *by, window=window), help=measure.help)


def images(on: Scope, *by: str, window: str = WINDOW) -> Expr:
    """Training images per second, all ranks together."""
    return measured(on, training.IMAGES, *by, window=window).of("images/s")
