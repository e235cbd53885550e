"""Every number in the alert rules, once, with its source. (J) marks a judgement nobody has published."""

from __future__ import annotations

from .model import Threshold

THRESHOLDS: dict[str, Threshold] = {
    # --- what counts as training
    "training_share": Threshold(
        0.25, "ratio", "(J) below a quarter of a minute in training, that minute says nothing about training"
    ),
    # --- utilisation
    "level_samples": Threshold(
        40, "samples", "(J) ten minutes of training at one evaluation per 15 s before a level is believed"
    ),
    "drop_to": Threshold(
        0.6, "ratio", "(J) of the run's own median; noise and multi-scale training stay above 0.8 of it"
    ),
    "drop_level": Threshold(0.3, "ratio", "TraceML: below 30 % utilisation is low; a low level cannot drop far"),
}
