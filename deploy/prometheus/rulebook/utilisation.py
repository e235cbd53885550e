"""Is the GPU working, as much as it did, as much as the others?"""

from __future__ import annotations

from .model import WARNING, Alert, Group, Text
from .records import GPU_BUSY, GPU_LEVEL

GPU_UTILIZATION_DROP = Alert(
    name="GpuUtilizationDrop",
    expr=f"{GPU_BUSY} < @drop_to@ * {GPU_LEVEL}\nand {GPU_LEVEL} >= @drop_level@",
    hold="2m",
    why_hold="the end of an epoch, close_mosaic's new workers and one slow file take up to a minute",
    keep="5m",
    why_keep="a GPU that drops and recovers every few minutes is one problem",
    severity=WARNING,
    dashboard=("yoloscope-run", ("run", "rank")),
    en=Text(
        summary="GPU utilisation of {{ $labels.run }} rank {{ $labels.rank }} dropped to "
        "{{ $value | humanizePercentage }} (GPU {{ $labels.gpu }} of {{ $labels.instance }})",
        description="While training, GPU {{ $labels.gpu }} of {{ $labels.instance }} is busy "
        "{{ $value | humanizePercentage }} of the time, less than @drop_to%@ of the run's usual level. Most often its "
        "data comes too slowly: more loader workers (workers=16), cache=ram or cache=disk, data on a local disk. If "
        "DataBound is silent, look at throttling and at other processes on this GPU.",
        meaning="The GPU did more work per second of training in the last hour than it does now. Validation, "
        "checkpoints and start-up are left out, and the level is the run's own, so a small model that never filled the "
        "GPU does not alert.",
        verify="`yoloscope diagnose` names the cause. On the dashboard compare the data wait with the step time before "
        "and after the drop; `nvidia-smi dmon -s pucv` shows throttling.",
        fix="Data wait grew: `workers=16`, `cache=ram` (`cache=disk` if memory is short), move the data to a local "
        "disk, end the other job that reads from the same storage. Step time grew: see the throttling alerts, or "
        "another process on the GPU (`nvidia-smi`). Neither: the model changed shape (multi_scale, a new imgsz).",
        silence='`amtool silence add alertname=GpuUtilizationDrop run="RUN" --duration=2h` when the drop is wanted, '
        "for example while the storage is being moved.",
    ),
    zh=Text(
        summary="{{ $labels.run }} 的 rank {{ $labels.rank }} GPU 利用率降到 {{ $value | humanizePercentage }}"
        "(节点 {{ $labels.instance }} 的 GPU {{ $labels.gpu }})",
        description="训练过程中,节点 {{ $labels.instance }} 的 GPU {{ $labels.gpu }} 只有 "
        "{{ $value | humanizePercentage }} 的时间在工作,低于该任务平时水平的 @drop_to%@。最常见的原因是数据供给太慢:"
        "增加加载进程(workers=16),使用 cache=ram 或 cache=disk,把数据放到本地磁盘。如果 DataBound 没有告警,"
        "请检查是否降频,以及该 GPU 上是否有其他进程。",
        meaning="与过去一小时相比,GPU 在每秒训练时间里做的工作变少了。验证、保存检查点和启动阶段不计入;比较的是该任务"
        "自己的水平,所以本来就占不满 GPU 的小模型不会误报。",
        verify="`yoloscope diagnose` 会指出原因。在仪表盘上比较下降前后的数据等待时间和单步时间;"
        "`nvidia-smi dmon -s pucv` 可以看到降频。",
        fix="数据等待变长:`workers=16`、`cache=ram`(内存不足用 `cache=disk`),把数据移到本地磁盘,停掉读取同一存储的其他"
        "任务。单步时间变长:查看降频类告警,或用 `nvidia-smi` 查看 GPU 上的其他进程。两者都没有变:模型输入变了"
        "(multi_scale、imgsz)。",
        silence='确实需要下降时(例如正在迁移存储):`amtool silence add alertname=GpuUtilizationDrop run="RUN" '
        "--duration=2h`。",
    ),
)

GROUP = Group("yoloscope-utilisation", "Utilisation", "利用率", (GPU_UTILIZATION_DROP,))
