"""What `watch()` shows in a notebook."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, str]] = {
    "No GPU on these nodes.": "这些节点没有 GPU。",
    "Time to prepare a batch, by loader worker": "各数据加载 worker 准备一个 batch 的时间",
    "Wait for a batch: workers=0, the training process loads its data itself": "等待每个 batch 的时间：workers=0，训练进程自己加载数据",
    "worker {worker}": "worker {worker}",
    "rank {rank}, worker {worker}": "rank {rank}，worker {worker}",
    "training process": "训练进程",
    "rank {rank}, training process": "rank {rank}，训练进程",
    "No batch has been prepared yet.": "尚未准备任何 batch。",
    "Memory by epoch (peak)": "各 epoch 的内存（峰值）",
    "Process memory by epoch (peak); trained on the CPU, so there is no GPU memory": "各 epoch 的进程内存（峰值）；在 CPU 上训练，没有显存",
    "%{text} since the first epoch": "比第一个 epoch %{text}",
    "No epoch has begun yet.": "尚未开始任何 epoch。",
    "No run yet. In the cell that trains: yoloscope_hooks.attach(model) before model.train().": "还没有训练任务。在训练的单元格中，先 yoloscope_hooks.attach(model)，再 model.train()。",
    "Run {run} has not been seen yet; known runs: {names}": "尚未看到训练任务 {run}；已知的任务：{names}",
    "run {run}": "训练任务 {run}",
    "until {time}": "截至 {time}",
    "forecast": "预期",
    "{problem}; what is shown was seen before": "{problem}；图中是此前的数据",
    "cannot be drawn: {why}": "无法绘制：{why}",
    "this exporter makes no diagnosis": "该 exporter 不做诊断",
}
