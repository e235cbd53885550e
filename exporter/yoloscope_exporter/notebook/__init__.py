"""`watch()` for notebooks: GPUs, loader workers, memory by epoch and the verdict of a run, beside the cell that trains.

    from yoloscope_exporter.notebook import watch

    watch(background=True)

The kernel shows; a second process reads, remembers, diagnoses and draws (`helper`), because a training blocks the
kernel. What is drawn is calculated in `panels`, laid out for plotly in `figure` and told in `heading`.
"""

from yoloscope_exporter.notebook.watching import Watch, watch

__all__ = ["Watch", "watch"]
