"""Peaks of cards: each name that NVML tells has one, or none."""

from __future__ import annotations

import re

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.gpu import MFU
from yoloscope_exporter.measures.peaks import PEAKS
from yoloscope_exporter.measures.series import Store, Window

NAMES = {
    "NVIDIA H200": 989,
    "NVIDIA H100 80GB HBM3": 989,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA A100 80GB PCIe": 312,
    "NVIDIA L40": 181,
    "NVIDIA L40S": 362,
    "NVIDIA L4": 121,
    "Tesla T4": 65,
    "Tesla V100-SXM2-16GB": 125,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA GeForce RTX 4090 Laptop GPU": None,
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": None,
    "NVIDIA H200 NVL": None,
    "NVIDIA GeForce GTX 1080": None,
}


@pytest.mark.parametrize(("name", "teraflops"), NAMES.items())
def test_a_card_has_one_peak_or_none(name: str, teraflops: float | None) -> None:
    """A part of a card, and a smaller one of a like name, are not taken for it."""
    found = [one.half / 1e12 for one in PEAKS if re.fullmatch(one.name, name)]
    assert found == ([] if teraflops is None else [teraflops])


def test_every_peak_has_a_source() -> None:
    """And is higher in half precision."""
    for one in PEAKS:
        assert "NVIDIA" in one.source
        assert one.half > one.single > 1e12


def _window(name: str, amp: str) -> Window:
    """A rank that trains for 80 of 100 s, with 3.956e15 operations in each of them."""
    store = Store()
    who = ("run", "0")
    facts = tuple(amp if fact == "amp" else "" for fact in c.RUN_FACTS)
    for second in range(0, 101, 5):
        store.add(
            float(second),
            [
                Sample(c.TRAIN_UP, who, 1.0),
                Sample(c.TRAIN_RUN_INFO, (*who, *facts), 1.0),
                Sample(c.TRAIN_DEVICE_INFO, (*who, "0", "GPU-x"), 1.0),
                Sample(c.GPU_INFO, ("0", "GPU-x", name, "", "", ""), 1.0),
                Sample(c.TRAIN_FLOPS_TOTAL, who, 3.956e14 * second * 0.8),
                Sample(c.TRAIN_PHASE_SECONDS_TOTAL, (*who, "forward"), 0.8 * second),
                Sample(c.TRAIN_PHASE_SECONDS_TOTAL, (*who, "validate"), 0.2 * second),
            ],
        )
    return Window(store, 0.0, 100.0, 5.0)


@pytest.mark.parametrize(
    ("name", "amp", "share"),
    [
        ("NVIDIA H200", "True", 0.4),
        ("NVIDIA H200", "False", 3.956e14 / 494e12),
        ("NVIDIA GeForce GTX 1080", "True", None),
        ("NVIDIA H200", "", None),
    ],
)
def test_share_of_the_peak(name: str, amp: str, share: float | None) -> None:
    """In the precision of the training and in training time; absent of a card or a precision that is not known."""
    found = list(evaluate(MFU.formula, [_window(name, amp)], "run", "rank").values())
    assert found == ([] if share is None else [pytest.approx(share, rel=1e-6)])
