"""Ultralytics' results.csv: the best score of all epochs."""

from __future__ import annotations

import pytest
from yoloscope_exporter.reports.results import best


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch,metrics/mAP50(B),metrics/mAP50-95(B)\n1,0.9,0.2\n2,0.8,0.5\n3,0.9,0.4\n", 0.5),
        ("  epoch,  metrics/mAP50-95(B),  metrics/mAP50-95(M)\n  1,  0.25,  0.9\n", 0.25),
        ("epoch,metrics/accuracy_top1,metrics/accuracy_top5\n1,0.7,1.0\n", 0.7),
        ("epoch,train/ce_loss,metrics/mIoU,metrics/pixel_acc\n1,2.0,0.41,0.8\n", 0.41),
        ("epoch,metrics/delta1,metrics/delta2,metrics/abs_rel\n1,0.82,0.9,0.2\n2,0.85,0.9,0.2\n", 0.85),
        ("epoch,metrics/mAP50-95(B)\n1,nan\n2,\n3\n4,0.1\n", 0.1),
        ("epoch,train/loss\n1,2.0\n", None),
        ("epoch,metrics/mAP50-95(B)\n", None),
        ("", None),
        (f"epoch,metrics/mAP50-95(B)\n1,{'0' * 200_000}\n", None),
        ("\0\0,mAP50-95\n1,x", None),
    ],
)
def test_best(text: str, expected: float | None) -> None:
    """Of the first column that says it; what is no number is passed over."""
    assert best(text) == expected
