"""The dashboards; only `dashboards` reads it. Words that mean something else there are translated here once more."""

from __future__ import annotations

from typing import Final

_COMMON: Final = {
    "Panels": "面板",
    "Panel": "面板",
    "Shows": "含义",
    "**Normal:** ": "**正常：**",
    "**Otherwise:** ": "**否则：**",
    "n/a": "不适用",
    "no data": "无数据",
    "no firing alerts": "没有触发中的告警",
    "Data source": "数据源",
    "Cluster": "集群",
    "Dashboards": "仪表盘",
    "Node of the run": "任务所在节点",
    "At a glance": "概览",
    "Run": "任务",
    "Run A": "任务 A",
    "Run B": "任务 B",
    "Rank": "Rank",
    "Ranks": "Rank 数",
    "Comparison of ranks": "各 rank",
    "the only one with epochs": "唯一有 epoch 的",
    "rank {{rank}}": "rank {{rank}}",
    "Node": "节点",
    "Nodes": "节点",
    "State": "状态",
    "Severity": "级别",
    "Alert": "告警",
    "Alerts": "告警",
    "no": "否",
    "Open the node": "打开该节点",
    "Zero.": "零。",
    "Zeros.": "全为零。",
    "Flat.": "平稳。",
    "Steady.": "平稳。",
    "Seconds.": "几秒。",
    "Milliseconds.": "几毫秒。",
    "A few seconds.": "几秒。",
    "Near zero.": "接近零。",
    "Close to zero.": "接近零。",
    "Nothing but zero.": "始终为零。",
    "No row.": "没有任何行。",
    "Up to 92 %.": "不超过 92%。",
    "Under 10 %.": "低于 10%。",
    "Under 20 %.": "低于 20%。",
    "Below 0.1 %.": "低于 0.1%。",
    "Below 50 %.": "低于 50%。",
    "Below 80 %.": "低于 80%。",
    "Below 85 %.": "低于 85%。",
    "Below 90 %.": "低于 90%。",
    "Above 70 %; validation takes its part.": "高于 70%；其余部分包括验证。",
    "Above 85 % while training.": "训练时高于 85%。",
    "Above 90 % while training.": "训练时高于 90%。",
    "Near 100 % while training.": "训练时接近 100%。",
    "Near 100 % under load.": "有负载时接近 100%。",
    "The lines lie together.": "各条线重合。",
    "Both lines lie together.": "两条线重合。",
    "Low and equal.": "低且彼此相等。",
    "Equal rows.": "各行相等。",
    "All rows alike.": "各行颜色一致。",
    "ETA": "剩余时间（ETA）",
    "Killed": "被终止",
    "Open the run": "打开该任务",
    "User": "用户",
    "Validation, checkpoints": "验证与检查点",
    "slow": "慢",
    "slows the run": "拖慢任务",
}

_LIFECYCLE: Final = {
    "{{run}}, rank {{rank}}": "{{run}}，rank {{rank}}",
    "Start": "开始",
    "End": "结束",
    "Batch halved (out of memory)": "batch 减半（显存不足）",
    "Went back after NaN": "出现 NaN 后回退",
    "Loader workers restarted": "数据加载 worker 重启",
    "Xid {{xid}}, GPU {{gpu}}": "Xid {{xid}}，GPU {{gpu}}",
    "Xid": "Xid",
}

_FLEET: Final = {
    "yoloscope / Fleet": "yoloscope / 集群总览",
    "All you own.": "等于拥有的全部 GPU。",
    "GPUs that a living training holds while they are busy less than 5 % of the time.": (
        "被运行中的任务占用、但利用率不足 5% 的 GPU。"
    ),
    "Faulty GPUs": "故障 GPU",
    "GPUs that do not answer, or whose memory needs a reset or a replacement.": (
        "没有响应，或显存需要复位或更换的 GPU。"
    ),
    "Drain the node: a GPU reset clears a pending remap, anything else needs a replacement.": (
        "把节点排空：复位 GPU 可完成待处理的行重映射，其他情况需要更换。"
    ),
    "Power of the node's GPUs.": "节点上 GPU 的功率。",
    "Exporters whose last scrape failed.": "最近一次抓取失败的 exporter。",
    "The node or its exporter is down: systemctl status yoloscope, or the pod's events.": (
        "节点或其 exporter 宕机：查看 systemctl status yoloscope，或 pod 的事件。"
    ),
    "What was submitted.": "与提交的数量一致。",
    "GPU-hours wasted": "浪费的 GPU 小时",
    "GPU-hours held but not computing, in the time range of the dashboard.": (
        "仪表盘时间范围内被占用却没有计算的 GPU 小时。"
    ),
    "Under a tenth of the GPU-hours held.": "不到占用 GPU 小时的十分之一。",
    "Firing alerts": "触发中的告警",
    "Alerts that are pending or firing.": "待定或触发中的告警。",
    "mAP50-95": "mAP50-95",
    "Progress of the runs": "任务进度",
    "Progress by run": "各任务的进度",
    "Progress grows, the last batch is a few seconds old.": "进度持续增长，距上一个 batch 只有几秒。",
    "Minutes since the last batch while the state is train: the run hangs. A click opens it.": (
        "状态为 train 而几分钟没有 batch：任务卡住。点击打开该任务。"
    ),
    "One row for each run; images per second of all its ranks together.": "每个任务一行；图像/秒为全部 rank 之和。",
    "Energy and waste of both runs": "两个任务的电量与浪费",
    "Less for the faster run.": "较快的任务更少。",
    "More energy per epoch: the GPUs wait, and draw power while they do.": (
        "每个 epoch 的电量更多：GPU 在等待，等待时也耗电。"
    ),
    "Last batch": "距上一个 batch",
    "Blue.": "蓝色。",
    "One row for each node whose exporter answers; n/a: no GPU, or a figure its hardware does not have.": (
        "每个 exporter 有响应的节点一行；不适用：没有 GPU，或硬件不提供该数据。"
    ),
    "Nothing held but idle, no throttling, memory below 90 %.": "没有占用但空闲，没有降频，内存低于 90%。",
    "Sort by a column; a click on a name opens the node.": "可按列排序；点击名称打开该节点。",
    "Held": "占用",
    "Idle": "空闲",
    "Faulty": "故障",
    "Hottest GPU": "最热的 GPU",
    "CPU busy": "CPU 利用率",
    "Memory": "内存",
    "Disk busy": "磁盘利用率",
    "installed": "已安装",
    "held": "被占用",
    "held but idle": "占用但空闲",
    "GPUs over time": "GPU 随时间变化",
    "Held near installed, idle at the bottom.": "占用接近已安装，空闲贴近底部。",
    "A wide gap: nobody trains.": "差距很大：没有人在训练。",
    "lowest tenth": "最低的十分之一",
    "middle": "中位",
    "highest tenth": "最高的十分之一",
    "The middle node near the highest tenth.": "中位节点接近最高的十分之一。",
    "The lowest tenth at zero: nodes without work, or stuck ones.": "最低的十分之一为零：节点没有任务，或卡住了。",
    "Waste by cause": "按原因划分的浪费",
    "GPUs held but not computing, by cause; over time: GPU-seconds wasted.": (
        "被占用却没有计算的 GPU，按原因划分；对时间积分即浪费的 GPU 秒。"
    ),
    "GPU-hours wasted by cause": "按原因统计浪费的 GPU 小时",
    "GPU-hours": "GPU 小时",
    "The twenty that wasted most in the time range.": "时间范围内浪费最多的二十个任务。",
    "Alerts of Prometheus that are firing now. Where alerts are evaluated elsewhere, this stays empty.": (
        "Prometheus 当前触发的告警。若告警在别处计算，这里为空。"
    ),
    "Open docs/alerts.md at the alert's name: it says how to verify it and what to type.": (
        "在 docs/alerts.zh-CN.md 中查找该告警名：其中说明如何确认以及如何修改。"
    ),
    "0, or a few while runs start.": "0；任务启动时可以有几个。",
    "A click opens the run.": "点击打开该任务。",
    "A tenth, half and nine tenths of the living runs wait less for data.": (
        "分别有十分之一、一半、十分之九的运行中任务等待数据的占比低于该线。"
    ),
    "A tenth, half and nine tenths of the nodes have a lower mean GPU utilization.": (
        "分别有十分之一、一半、十分之九的节点 GPU 平均利用率低于该线。"
    ),
    "Above 20 % for most runs: the shared storage is the likely cause.": "多数任务都高于 20%：很可能是共享存储的问题。",
    "Above 60 % over a day for a shared cluster; each run above 85 %.": "共享集群全天高于 60%；每个任务高于 85%。",
    "Active runs": "运行中的任务",
    "All nodes and runs: which run or node needs a look, whose it is, and what it costs.": (
        "所有节点和训练任务：哪个需要查看、属于谁、花费多少。"
    ),
    "Blue verdicts, GPU utilization above 85 %, waiting under 10 %.": (
        "结论为蓝色，GPU 利用率高于 85%，等待数据低于 10%。"
    ),
    "Cost": "费用",
    "Data wait over runs": "各任务的等待数据占比",
    "Failed runs": "失败的任务",
    "Falling with as many runs: something shared got slow.": "任务数不变而下降：某个共享资源变慢了。",
    "Few hours.": "只有少量小时。",
    "Fewer than yesterday: a node is down or a GPU fell off the bus.": "比昨天少：有节点宕机，或有 GPU 掉卡。",
    "Fewer: look for killed ones in the table Runs.": "变少：在“训练任务”表中查找被终止的任务。",
    "Firing alerts by name": "触发中的告警列表",
    "Follows the number of runs.": "随任务数变化。",
    "Follows utilization.": "随利用率变化。",
    "GPU-hours wasted by run": "按任务统计浪费的 GPU 小时",
    "GPU-hours, energy and cost by user": "按用户统计 GPU 小时、电量和费用",
    "GPUs that each user's runs held in the time range, what they drew, and what that costs.": (
        "时间范围内每个用户的任务占用的 GPU、耗电量及费用。"
    ),
    "High at low utilization: GPUs spin without work.": "利用率低而功率高：GPU 在空转。",
    "Idle GPUs": "空闲的 GPU",
    "Job or pod": "作业或 pod",
    "Low while GPUs are held: see Idle GPUs. Low while none are held: nobody trains.": (
        "有 GPU 被占用却利用率低：看“空闲的 GPU”。没有被占用：没有人在训练。"
    ),
    "Mean utilization over all GPUs.": "所有 GPU 的平均利用率。",
    "Nodes down": "无响应的节点",
    "One row for each run that lives or ended a short while ago; the worst verdict of its ranks.": (
        "每个运行中或刚结束的任务一行；显示各 rank 中最严重的诊断结论。"
    ),
    "Orange slows a run, magenta has stopped it; many at once point at something shared.": (
        "橙色表示任务被拖慢，品红表示已失败；同时出现很多则指向共享资源。"
    ),
    "Runs that are stalled, killed, failed or diverged, of the last minutes.": (
        "最近几分钟内卡住、被终止、失败或发散的任务。"
    ),
    "Runs with a living rank.": "至少有一个 rank 存活的任务。",
    "Runs with a verdict that something slows them.": "有结论表明被拖慢的任务。",
    "Slowed runs": "被拖慢的任务",
    "Sort by a column; a click on a name opens the run, which says what to type.": (
        "可按列排序；点击名称打开该任务，查看修改方法。"
    ),
    "Spread over nodes and runs": "节点与任务之间的差异",
    "Start with the most: docs/diagnosis.md has the fix for each cause.": (
        "从最多的开始：docs/diagnosis.zh-CN.md 有每种原因的修改方法。"
    ),
    "The middle run under 10 %.": "中位任务低于 10%。",
    "The panel Waste by cause says which fix pays most.": "“按原因划分的浪费”面板说明哪种修改收益最大。",
    "The table Firing alerts by name lists them.": "“触发中的告警列表”会列出它们。",
    "The table Nodes names them; the run there is stalled, setting up, or waits for data.": (
        "“节点”表会列出它们；那里的任务卡住、仍在初始化，或在等待数据。"
    ),
    "The table Runs has the user's runs. No cost or CO2: docs/dashboards/fleet.md says how to set prices.": (
        "“训练任务”表列出该用户的任务。没有费用或 CO2 排放：docs/dashboards/fleet.zh-CN.md 说明如何设置价格。"
    ),
    "The table below names them and the verdict.": "下表列出它们及诊断结论。",
    "The table below names them and the verdict; open the run from there.": (
        "下表列出它们及诊断结论；可从那里打开该任务。"
    ),
    "The thickest band is the fix that pays most: docs/diagnosis.md.": (
        "最宽的色带对应收益最大的修改：见 docs/diagnosis.zh-CN.md。"
    ),
    "The worst verdict of each run over time; the 40 worst where there are more.": (
        "每个任务随时间变化的最严重结论；超过 40 个时显示最严重的 40 个。"
    ),
    "Use, waste and cost": "使用、浪费与费用",
    "Utilization over nodes": "各节点利用率",
    "Verdicts of the runs": "各任务的诊断结论",
    "Waste under a tenth of the hours held.": "浪费不到占用小时的十分之一。",
    "Wasted": "浪费",
    "Needs attention": "需要关注",
}

_RUN: Final = {
    "yoloscope / Training run": "yoloscope / 训练任务",
    "train, with short validate and checkpoint between epochs.": "train，epoch 之间有短暂的 validate 和 checkpoint。",
    "setup for minutes: the data set is being scanned or cached. killed: look at dmesg and the job's log.": (
        "setup 持续数分钟：正在扫描或缓存数据集。killed：查看 dmesg 和作业日志。"
    ),
    "Steady from the second epoch on.": "从第二个 epoch 起保持平稳。",
    "Falling: throttling, a leak or shared storage. Compare with an earlier run on the dashboard Compare.": (
        "下降：降频、泄漏或共享存储变慢。可在“对比”仪表盘上与以前的任务比较。"
    ),
    "Time since the last training batch ended.": "距上一个 batch 训练结束的时间。",
    "A few seconds; longer during validation.": "几秒；验证期间更长。",
    "Minutes without a batch while the state is train: the run hangs. py-spy dump shows where.": (
        "状态为 train 却几分钟没有 batch：任务卡住了。用 py-spy dump 查看卡在哪里。"
    ),
    "Grows.": "增长。",
    "Grows evenly.": "均匀增长。",
    "Falls as fast as the clock runs.": "与时钟同步减少。",
    "Half of the steps are shorter than this; the data wait is left out.": "一半的步短于该值；不含等待数据的时间。",
    "Steady; the smaller the better for one batch size.": "平稳；同样的 batch 下越小越好。",
    "Growing: look at clocks and throttling on the dashboard Node.": "增长：在“节点”仪表盘查看频率和降频。",
    "Rises from epoch to epoch, then levels off.": "逐个 epoch 上升，然后趋于平稳。",
    "n/a before the first validation, and for other tasks.": "首次验证之前以及其他任务类型显示“不适用”。",
    "Epochs since the best": "距最佳结果的 epoch 数",
    "Small, or growing slowly towards the end.": "很小，或在末尾缓慢增长。",
    "At `patience` training stops: more data or augmentation helps, not more epochs.": (
        "达到 `patience` 时训练停止：应增加数据或增强，而不是 epoch。"
    ),
    "The verdict names what takes the rest.": "诊断结论说明其余时间用在哪里。",
    "One blue bar, compute_bound.": "一条蓝色横条 compute_bound。",
    "Step anatomy": "单步构成",
    "Where each second of the ranks' wall time went, mean over ranks.": "各 rank 每一秒时间的去向，取 rank 平均。",
    "GPU {{gpu}} of rank {{rank}}": "rank {{rank}} 的 GPU {{gpu}}",
    "CPU of {{instance}}": "{{instance}} 的 CPU",
    "Share of time the GPUs computed and share of their nodes' CPU time in use, on one time base.": (
        "同一时间轴上 GPU 计算的时间占比和所在节点 CPU 的使用占比。"
    ),
    "GPU lines near 100 %, CPU below.": "GPU 接近 100%，CPU 低于它。",
    "GPU low while CPU is full: preparing data is the limit. Both low: storage.": (
        "GPU 低而 CPU 满：数据准备是瓶颈。两者都低：存储是瓶颈。"
    ),
    "Step time, distribution": "单步时间分布",
    "One narrow band.": "一条窄带。",
    "A second band or a tail: look at ranks, loader and throttling.": "出现第二条带或长尾：查看 rank、数据加载和降频。",
    "half of the steps": "50% 的步",
    "95 % of the steps": "95% 的步",
    "99 % of the steps": "99% 的步",
    "Step time, quantiles": "单步时间分位数",
    "The three lines lie close together.": "三条线靠得很近。",
    "A 99 % line far above: now and then a step takes long: a busy neighbour, a slow rank.": (
        "99% 线远高于其他：偶尔有一步很慢，例如邻居繁忙或某个 rank 慢。"
    ),
    "Images per second by rank": "各 rank 的图像/秒",
    "Flat and equal over the ranks.": "平稳且各 rank 相等。",
    "One rank below the others slows all: open DDP ranks.": "某个 rank 低会拖慢全部：打开“DDP 各 rank”。",
    "Loader workers use several CPUs, the trainers about one each.": "数据加载 worker 使用若干 CPU，训练进程各约一个。",
    "Workers near the CPUs they may use: fewer augmentations, cache=ram, or more CPUs.": (
        "worker 接近可用 CPU 上限：减少增强、cache=ram，或增加 CPU。"
    ),
    "Learning": "学习过程",
    "Falls, ever more slowly.": "下降，且越来越慢。",
    "Rising or gone (not finite): lower lr0; look at the labels and at amp.": (
        "上升或消失（非有限值）：降低 lr0；检查标注和 amp。"
    ),
    "Learning rate": "学习率",
    "Warm-up, then a decline.": "先预热，再下降。",
    "A flat line over the whole run: look at lrf and cos_lr.": "全程为一条直线：检查 lrf 和 cos_lr。",
    "Rise and level off.": "上升后趋于平稳。",
    "Level while the loss still falls: overfitting, or too little data.": "损失仍在下降而指标不变：过拟合或数据太少。",
    "under way": "正在进行",
    "asked for": "设定值",
    "Epochs": "Epoch 进度",
    "A straight line that meets the epochs asked for.": "一条直线，最终到达设定的 epoch 数。",
    "It flattens: throughput fell.": "变平：吞吐下降了。",
    "images in a batch": "batch size（每个 rank）",
    "batches per optimizer step": "每次优化器更新的 batch 数",
    "Batch": "batch size 与累积",
    "Images in a batch of a rank, and batches for one optimizer step.": (
        "每个 rank 的 batch size，以及每次优化器更新的 batch 数。"
    ),
    "Constant; accumulation ramps up during warm-up.": "不变；累积步数在预热期间逐渐增加。",
    "A smaller batch in the middle of a run: Ultralytics halved it after running out of memory.": (
        "训练途中 batch 变小：Ultralytics 因显存不足将其减半。"
    ),
    "losses not finite": "非有限损失",
    "went back after NaN": "NaN 后回退",
    "batch halved": "batch 减半",
    "Non-finite losses, returns to the last checkpoint and halved batches in the window of the panel.": (
        "面板窗口内的非有限损失、回退到上一检查点以及 batch 减半的次数。"
    ),
    "Non-finite losses: lower lr0, amp=False to try. Out of memory: a smaller batch or imgsz.": (
        "非有限损失：降低 lr0，可试 amp=False。显存不足：减小 batch 或 imgsz。"
    ),
    "What you asked for.": "与要求一致。",
    "amp=False, cache=False or an odd device is often the whole explanation.": (
        "amp=False、cache=False 或意外的设备往往就是全部原因。"
    ),
    "model": "model",
    "data": "data",
    "imgsz": "imgsz",
    "optimizer": "optimizer",
    "amp": "amp",
    "cache": "cache",
    "device": "device",
    "ultralytics": "ultralytics",
    "torch": "torch",
    "cuda": "cuda",
    "A wide orange band: the loader. Vermillion: waiting for other ranks. Grey: validation or checkpoints.": (
        "宽的橙色带：数据加载。朱红色：等待其他 rank。灰色：验证或检查点。"
    ),
    "Above 20 % the loader slows the run: open the dashboard Data pipeline.": (
        "高于 20% 说明数据加载拖慢了任务：打开“数据管道”仪表盘。"
    ),
    "Blue and green, which compute, fill nearly all of it.": "蓝色和绿色（计算）几乎占满。",
    "CPU cores used by the run": "任务使用的 CPU 核数",
    "Configuration": "配置",
    "Firing alerts of this run": "该任务触发中的告警",
    "GPU and CPU utilization": "GPU 与 CPU 利用率",
    "If it grows, throughput is falling: look at the diagnosis.": "若增长，说明吞吐在下降：看“诊断”。",
    "Look at the Step anatomy: what is neither blue nor green is what the GPU waits for.": (
        "看“单步构成”：蓝色和绿色以外的部分就是 GPU 在等待的环节。"
    ),
    "Steady over the run; higher for larger models, images and batches.": "全程平稳；模型、图像和 batch 越大越高。",
    "Falling: throttling, or steps that wait. Low from the start: AMP off, a small batch, no compile=True.": (
        "下降：降频，或训练步在等待。一开始就低：未启用 AMP、batch 太小、没有 compile=True。"
    ),
    "Floating-point operations of the model's layers in training time over the most that the card can do by its data "
    "sheet, dense, in the precision of the training. Absent for cards whose peak is not known, and with rect or "
    "multi_scale.": (
        "训练时间内模型各层的浮点运算，与数据手册给出的该卡在训练精度下的稠密峰值之比。峰值未知的显卡，"
        "以及使用 rect 或 multi_scale 时不显示。"
    ),
    "Namespace": "命名空间",
    "No row: Prometheus does not evaluate deploy/prometheus/rules/recording.yml.": (
        "没有任何行：Prometheus 没有加载 deploy/prometheus/rules/recording.yml。"
    ),
    "One blue row: healthy.": "只有一行，蓝色：健康。",
    "One run: is it healthy, and if not, what slows it and what to do about it.": (
        "单个训练任务：是否健康；若不健康，是什么拖慢了它，如何修改。"
    ),
    "Orange slows the run, magenta has stopped it. The dashboard DDP ranks tells the ranks apart.": (
        "橙色表示任务被拖慢，品红表示已失败。“DDP 各 rank”仪表盘区分各 rank。"
    ),
    "Partition": "分区",
    "Pod": "Pod",
    "Slurm job": "Slurm 作业",
    "Stands still: look at Last batch.": "停住不动：看“距上一个 batch”。",
    "Stands still: look at Last batch. Early stopping ends a run before 100 %.": (
        "停住不动：看“距上一个 batch”。早停会在 100% 之前结束任务。"
    ),
    "Step time, epochs, batch size, training errors": "单步时间、epoch、batch size 与训练异常",
    "Throughput and hardware": "吞吐与硬件",
    "Training errors": "训练异常",
    "Verdicts of the diagnosis, while they held for a rank.": "诊断结论在任一 rank 上成立的时段。",
    "Verdicts over time": "诊断结论随时间变化",
    "Diagnosis and fix": "诊断与修改方法",
    ("Whose run it is: the Slurm job's user, else the process's; as workload the Slurm job, else namespace/pod."): (
        "任务属于谁：Slurm 作业的用户，否则为进程的用户；以及 Slurm 作业，或命名空间/pod。"
    ),
    "Owner, alerts and configuration": "归属、告警与配置",
    "You.": "是你本人。",
    (
        "The first row is the most severe: type its fix. docs/diagnosis.md says of each verdict how to "
        "verify it, and what looks alike."
    ): ("第一行最严重：按其修改方法操作。docs/diagnosis.zh-CN.md 说明每个结论如何确认以及容易混淆的情况。"),
    "The verdicts of the diagnosis that hold now, each with the fix computed for one of its ranks.": (
        "当前成立的诊断结论，以及针对其中一个 rank 计算出的修改方法。"
    ),
}

_DATA: Final = {
    "yoloscope / Data pipeline": "yoloscope / 数据管道",
    "Above 50 %: batches wait for the trainer.": "高于 50%：batch 在等待训练进程。",
    "Near 0 the trainer waits for batches: more workers, or cheaper preparation.": (
        "接近 0 时训练进程在等 batch：增加 workers，或减轻数据准备。"
    ),
    "Mean time a worker needs for a batch.": "一个 worker 准备一个 batch 的平均时间。",
    "Less than the step time times the number of workers.": "小于单步时间乘以 worker 数。",
    "More: raise workers to preparation time over step time (Little's law), or prepare less.": (
        "更长：把 workers 提高到准备时间除以单步时间（利特尔法则），或减轻数据准备。"
    ),
    "Share of the preparation in which the worker ran on a CPU; the rest is waiting, mostly for storage.": (
        "准备过程中 worker 在 CPU 上运行的占比；其余是等待，主要是等存储。"
    ),
    "Above 70 %: decoding and augmentation.": "高于 70%：在做解码和增强。",
    "Below 50 % the workers wait for storage: cache=ram or cache=disk, or a local disk.": (
        "低于 50% 说明 worker 在等存储：cache=ram 或 cache=disk，或使用本地磁盘。"
    ),
    "Workers that take twice as long for a batch as the mean of their rank's other workers.": (
        "准备一个 batch 的时间达到同一 rank 其他 worker 均值两倍的 worker 数。"
    ),
    "Dead workers": "异常退出的 worker",
    "Loader workers that ended by a signal or an error, in the time range.": (
        "时间范围内因信号或错误退出的数据加载 worker。"
    ),
    "Most often killed for lack of memory or of /dev/shm: fewer workers, or a larger shared memory.": (
        "多因内存或 /dev/shm 不足被终止：减少 workers，或增大共享内存。"
    ),
    "Batch times": "batch 用时",
    "Batch preparation, all workers": "准备 batch 的时间（全部 worker）",
    "How many batches per second took how long to prepare, over all loader workers.": (
        "所有数据加载 worker 中，每秒有多少个 batch 用了多长时间准备。"
    ),
    "One band, below the step time times the workers.": "一条明显的带，低于单步时间乘以 worker 数。",
    "A second band above: a slow worker, cold files, or large images. A band that climbs: storage slows.": (
        "上方出现第二条带：某个 worker 慢、文件未缓存或图像很大。带上移：存储变慢。"
    ),
    "Waiting for a batch": "等待 batch",
    "How many batches per second were waited for how long.": "每秒有多少个 batch 被等待了多长时间。",
    "All in the lowest rows.": "都在最低的几行。",
    "Anything above a tenth of the step time costs throughput.": "超过单步时间十分之一就会损失吞吐。",
    "half of the batches": "50% 的 batch",
    "95 % of the batches": "95% 的 batch",
    "99 % of the batches": "99% 的 batch",
    "Batch preparation, quantiles": "准备 batch 的时间（分位数）",
    "Close together.": "靠得很近。",
    "A 99 % line far above the others: single files or moments, not the workers.": (
        "99% 线远高于其他：个别文件或时刻的问题，不是 worker 的问题。"
    ),
    "Waiting for a batch, quantiles": "等待 batch 的时间（分位数）",
    "Half of the batches late: too little preparation. Only 99 %: single slow batches.": (
        "一半的 batch 要等：准备能力不足。仅 99% 线高：个别 batch 慢。"
    ),
    "rank {{rank}}, worker {{worker}}": "rank {{rank}}，worker {{worker}}",
    "All blue.": "全部为蓝色。",
    "in time": "准时",
    "Workers": "数据加载 worker",
    "One row for each loader worker of each rank.": "每个 rank 的每个数据加载 worker 一行。",
    "Nearly equal rows.": "各行大致相等。",
    "A slow row that waits: storage. A slow row on the CPU: its CPU is shared.": (
        "慢且在等待：存储。慢且在 CPU 上：它的 CPU 被共享。"
    ),
    "Rank/worker": "Rank/worker",
    "On a CPU": "占用 CPU",
    "Pages read per second": "每秒读取的页",
    "Preparing a batch, by worker": "各 worker 准备一个 batch 的时间",
    "Loader queue": "数据加载队列",
    "ready": "已就绪",
    "Batches ready": "就绪的 batch",
    "Near the top.": "接近顶部。",
    "At the bottom the trainer waits; the loader is the bottleneck.": "贴近底部时训练进程在等；数据加载是瓶颈。",
    "Some steps long.": "几步的长度。",
    "Near zero: every batch is taken at once, there is nothing in reserve.": (
        "接近零：每个 batch 立刻被取走，没有储备。"
    ),
    "now": "当前",
    "without waiting": "无等待时",
    "Images per second, and without waiting": "图像/秒，以及无等待时",
    "Throughput now, and what it would be if no batch were waited for.": "当前吞吐，以及完全不等待 batch 时的吞吐。",
    "The gap is what a faster loader would give.": "差距就是更快的数据加载所能带来的提升。",
    "First batch of an epoch": "epoch 的第一个 batch",
    "A few per cent, or nothing.": "百分之几，或没有。",
    "Much: workers are started anew each epoch, or epochs are very short. Fewer, longer epochs help.": (
        "很多：每个 epoch 都重启 worker，或 epoch 太短。减少 epoch 数、加长每个 epoch 会有帮助。"
    ),
    "started again": "重启",
    "died": "异常退出",
    "Worker restarts and deaths": "worker 重启与异常退出",
    "Zero, but for close_mosaic.": "除 close_mosaic 外为零。",
    "Deaths: dmesg for the OOM killer, df /dev/shm for shared memory.": (
        "异常退出：用 dmesg 查 OOM killer，用 df /dev/shm 查共享内存。"
    ),
    "workers asked for": "设定的 worker 数",
    "Workers and processes": "worker 与进程",
    "Loader workers asked for, and the processes that live.": "设定的数据加载 worker 数与存活的进程数。",
    "As many as asked for.": "与设定值一致。",
    "Fewer: workers have died. `workers` may be capped by the CPUs.": (
        "变少：有 worker 异常退出。`workers` 可能受 CPU 数限制。"
    ),
    "CPU or storage": "CPU 还是存储",
    "quota": "配额",
    "may run on": "可运行于",
    "CPUs used": "使用的 CPU",
    "Below the CPUs the run may use.": "低于任务可用的 CPU。",
    "At the limit: fewer augmentations, cache=ram, smaller images on disk, or more CPUs.": (
        "到达上限：减少增强、cache=ram、磁盘上存更小的图像，或增加 CPU。"
    ),
    "stopped by the quota": "被限额暂停",
    "CPUs' worth of processes that could run and had to wait; a quota's throttling counts here too.": (
        "可以运行却必须等待的进程，折合 CPU 数；CPU 限额造成的等待也计入。"
    ),
    "Under a fifth of a CPU for each worker.": "每个 worker 低于五分之一个 CPU。",
    "High: too many workers or threads for the CPUs. OMP_NUM_THREADS=1, fewer workers.": (
        "高：进程或线程超过 CPU 承受能力。设 OMP_NUM_THREADS=1，减少 workers。"
    ),
    "by the run": "该任务",
    "{{device}} of {{instance}}": "{{instance}} 的 {{device}}",
    "High in the first epoch, then little: the page cache has it.": "第一个 epoch 高，之后很少：数据已在页缓存中。",
    "High in every epoch: the data set is larger than memory. cache=disk on a local disk, or more memory.": (
        "每个 epoch 都高：数据集大于内存。在本地磁盘上用 cache=disk，或增加内存。"
    ),
    "Disks busy": "磁盘利用率",
    "Share of time in which the disk had work.": "磁盘有任务的时间占比。",
    "Near 100 %: the disk is the limit.": "接近 100%：磁盘是瓶颈。",
    "Pressure on the run": "任务受到的资源压力",
    "Share of time in which some process of the run's cgroup waited for the resource.": (
        "该任务的 cgroup 中有进程等待该资源的时间占比。"
    ),
    "io: storage. cpu: too few CPUs. memory: pages are being reclaimed, lower workers or cache.": (
        "io：存储。cpu：CPU 太少。memory：正在回收内存页，减少 workers 或 cache。"
    ),
    "page cache of {{instance}}": "{{instance}} 的页缓存",
    "available on {{instance}}": "{{instance}} 可用内存",
    "/dev/shm left on {{instance}}": "{{instance}} 的 /dev/shm 剩余",
    "Memory of the nodes": "节点内存",
    "Page cache, memory still to be had, shared memory left (of a run's container where known), by node.": (
        "各节点的页缓存、可用内存和剩余共享内存（已知时为任务容器内的）。"
    ),
    "Page cache fills what processes leave.": "页缓存占满进程留下的空间。",
    "/dev/shm nearly full: workers die with a bus error. Raise --shm-size, or lower workers.": (
        "/dev/shm 快满：worker 会因 bus error 退出。增大 --shm-size，或减少 workers。"
    ),
    (
        "A worker is slow when it takes 2 times as long as the mean of its rank's other workers. Workers "
        "that were never slow in the time range have no row."
    ): ("准备一个 batch 的时间达到同一 rank 其他 worker 均值的 2 倍即为慢。时间范围内从未变慢的 worker 不显示。"),
    "A worker orange all along: its files, its mount or its CPU. Now and then: harmless.": (
        "某个 worker 一直为橙色：检查它读取的文件、挂载和 CPU。偶尔出现无妨。"
    ),
    "Above 20 % the loader slows the run; the panels below say whether workers, CPU or storage.": (
        "高于 20% 说明数据加载拖慢了任务；下方面板说明原因是 worker 数、CPU 还是存储。"
    ),
    "All along: that worker's files, mount or CPU. See the workers below.": (
        "一直存在：检查该 worker 读取的文件、挂载和 CPU。见下方各 worker。"
    ),
    "Batch preparation by worker": "各 worker 准备 batch 的时间",
    "Mean time each worker takes for a batch.": "每个 worker 准备一个 batch 的平均时间。",
    "One blue row.": "只有一行，蓝色。",
    (
        "One row for each loader worker, the mean time it takes for a batch as colour. Choose one rank at "
        "the top where there are many."
    ): ("每个数据加载 worker 一行，颜色表示准备一个 batch 的平均时间。rank 较多时，可在上方只选一个。"),
    "One row stands out: that worker's files, mount or CPU. All change at once: storage, or CPUs.": (
        "某一行颜色突出：检查该 worker 读取的文件、挂载和 CPU。所有行同时变化：存储或 CPU 的问题。"
    ),
    "Slow workers": "慢的 worker 数",
    "Slow workers over time": "慢的 worker 随时间变化",
    "The loader of one run: does it keep up, and if not, is it workers, CPU, one worker or storage.": (
        "单个任务的数据加载：是否跟得上；若跟不上，原因是 worker 数、CPU、某个 worker 还是存储。"
    ),
    "The thick line is a slow worker, as the table's first row.": "粗线是慢的 worker，与表中第一行一致。",
    "Waiting for a CPU": "等待 CPU",
    "any worker": "任一 worker",
    "capacity": "容量",
    "slow: rank {{rank}}, worker {{worker}}": "慢：rank {{rank}}，worker {{worker}}",
}

_MEMORY: Final = {
    "yoloscope / GPU memory": "yoloscope / 显存",
    "Peak": "峰值",
    "Most that PyTorch reserved on a rank, as a share of its GPU's memory.": (
        "各 rank 上 PyTorch 保留显存的最大值，占其 GPU 显存的比例。"
    ),
    "Above 97 % the next large batch may fail: a smaller batch or imgsz, amp=True.": (
        "高于 97% 时下一个大的 batch 可能失败：减小 batch 或 imgsz，或 amp=True。"
    ),
    "Free at the peak": "峰值时剩余",
    "Device memory less the peak, on the rank where it is tightest.": "显存减去峰值，取最紧张的 rank。",
    "A tenth of the memory.": "显存的十分之一。",
    "Much more: a larger batch uses the GPU better. See peak against batch size below.": (
        "多得多：增大 batch 可更好地利用 GPU。见下方“峰值与 batch size”。"
    ),
    "Reserved but unused": "已保留但未使用",
    "High and near full: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, multi_scale=False, fixed imgsz.": (
        "高且接近用尽：PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True、multi_scale=False、固定 imgsz。"
    ),
    "Growth in the last epoch": "上一个 epoch 的增长",
    "Around 0 after the second epoch.": "第二个 epoch 之后在 0 附近。",
    "Growing epoch after epoch: a leak. Look for tensors kept in lists, callbacks or losses.": (
        "逐个 epoch 增长：泄漏。查找保存在列表、回调或损失中的张量。"
    ),
    "Retries": "重试",
    "Allocations in the time range that failed, flushed the cache and were tried again.": (
        "时间范围内失败、清空缓存后重试的分配次数。"
    ),
    "Each one stops the GPU while the cache is flushed: a smaller batch, or expandable segments.": (
        "每次清空缓存都会让 GPU 停下：减小 batch，或启用 expandable segments。"
    ),
    "Out of memory": "显存不足",
    "A smaller batch or imgsz; Ultralytics halves the batch by itself in the first epoch only.": (
        "减小 batch 或 imgsz；Ultralytics 只在第一个 epoch 自动将 batch 减半。"
    ),
    "Memory use": "显存使用情况",
    "tensors": "张量",
    "free": "空闲",
    "Device memory by user": "显存按用途",
    "Mean over the GPUs of the run: tensors, PyTorch's cache, everybody else and what is free.": (
        "该任务各 GPU 的平均：张量、PyTorch 缓存、其他占用和空闲。"
    ),
    "The sum is the GPU's memory; some of it free.": "总和为 GPU 的显存，其中留有空闲。",
    "Others is large: another process is on this GPU, see the processes below.": (
        "“CUDA 上下文及其他”很大：GPU 上有别的进程，见下方进程表。"
    ),
    "PyTorch's memory": "PyTorch 的显存",
    "By kind, the most of the ranks.": "按种类，取各 rank 的最大值。",
    "Allocated swings with each step, reserved is flat.": "allocated 随每步波动，reserved 平稳。",
    "Reserved climbs step by step: fragmentation or growing inputs. Allocated climbs: a leak.": (
        "reserved 阶梯上升：碎片或输入变大。allocated 上升：泄漏。"
    ),
    "Used by GPU": "各 GPU 已用显存",
    "Equal over the ranks.": "各 rank 相等。",
    "Rank 0 somewhat higher: it validates. Much higher: a leak.": "rank 0 略高：它负责验证。高很多：泄漏。",
    "Reserved but unused, by rank": "已保留但未使用（按 rank）",
    "Growing over hours: fragmentation.": "几小时内持续增长：碎片。",
    "retries": "重试",
    "out of memory": "显存不足",
    "Retries and out of memory": "重试与显存不足",
    "Retries come before the failure: act on the first.": "重试先于失败出现：第一次出现就应处理。",
    "Memory growth and batch size": "显存增长与 batch size",
    "tensors, peak": "张量峰值",
    "reserved, peak": "保留峰值",
    "Peak in each epoch": "每个 epoch 的峰值",
    "The most in each epoch. Needs Grafana 9.4 or newer.": "每个 epoch 的最大值。需要 Grafana 9.4 或更新版本。",
    "Flat from the second epoch; a step at close_mosaic is normal.": (
        "从第二个 epoch 起平稳；close_mosaic 处出现台阶属正常。"
    ),
    "Rising evenly: a leak. The run ends out of memory when it meets the GPU's memory.": (
        "均匀上升：泄漏。达到 GPU 显存时任务会因显存不足而结束。"
    ),
    "Peak against batch size": "峰值与 batch size",
    "The peak grows in proportion to the batch, from a base of model and optimizer.": (
        "峰值在模型和优化器的基数之上随 batch 成比例增长。"
    ),
    "Take two rows of the same model: their slope tells what the next larger batch needs.": (
        "取同一模型的两行：由斜率可知更大的 batch 需要多少。"
    ),
    "Images in a batch": "每 rank batch size",
    "Of the GPU": "占 GPU 显存",
    "Host memory of the run": "任务的主机内存",
    "Grows in the first epoch, then flat.": "第一个 epoch 增长，之后平稳。",
    "Workers that grow all along: copies of lists in Python. The trainer growing: cache=ram, or a leak.": (
        "worker 一直增长：Python 列表被复制。训练进程增长：cache=ram，或泄漏。"
    ),
    "Processes on these GPUs": "这些 GPU 上的进程",
    "GPU, process": "GPU、进程",
    "Program": "程序",
    "All runs in the time range, not the chosen one alone.": "时间范围内的所有任务，不限于选中的那个。",
    "Another process: end it, or move the run to another GPU with device=.": (
        "有其他进程：结束它，或用 device= 把任务移到别的 GPU。"
    ),
    "Device memory of one run: does it fit, does it grow, and what batch would still fit.": (
        "单个任务的显存：够不够、是否在增长、还能放下多大的 batch。"
    ),
    "The run alone.": "只有该任务。",
    "What PyTorch reserved beyond the most that tensors used at once, as a share of the GPU's memory.": (
        "PyTorch 保留的显存超出张量曾同时使用的最大值的部分，占 GPU 显存的比例。"
    ),
}

_RANKS: Final = {
    "yoloscope / DDP ranks": "yoloscope / DDP 各 rank",
    "Lag of the slowest rank": "最慢 rank 的落后程度",
    "How much longer the slowest rank's own time for a batch is than the mean of the other ranks.": (
        "最慢的 rank 每个 batch 的自身时间比其他 rank 均值长的比例。"
    ),
    "Above, one rank holds all others up, for they wait at every step: the table names it.": (
        "超过时有一个 rank 拖慢所有其他 rank，因为每一步都要等它：表中会列出。"
    ),
    "Slowest rank": "最慢的 rank",
    "The rank whose own work takes longest now.": "当前自身工作时间最长的 rank。",
    "Changes all the time.": "不断变化。",
    "Always the same: look at its GPU's clock, its workers, its node below.": (
        "总是同一个：在下方查看它的 GPU 频率、数据加载 worker 和节点。"
    ),
    "Waiting for peers": "等待其他 rank",
    "Share of the wall time in which ranks waited for each other at the end of backward.": (
        "各 rank 在反向结束时互相等待的时间占比。"
    ),
    "Under 20 %; n/a for a single process.": "低于 20%；单进程显示“不适用”。",
    "High and equal: communication is slow (NVLink, network). High on all but one: that one is slow.": (
        "高且相等：通信慢（NVLink、网络）。只有一个不高：那一个慢。"
    ),
    "The rank that waits most.": "等待最多的 rank。",
    "Ranks whose process lives.": "进程存活的 rank。",
    "Fewer: one has died, the others hang until NCCL's timeout. Kill the run.": (
        "变少：有 rank 异常退出，其余会卡到 NCCL 超时。请终止该任务。"
    ),
    "Difference in batches": "batch 差距",
    "Batches between the rank that has done most and the one that has done least, in the time range.": (
        "时间范围内完成最多与最少的 rank 之间相差的 batch 数。"
    ),
    "0 or 1.": "0 或 1。",
    "More: ranks do not step together; a rank hangs.": "更大：各 rank 不同步，有 rank 卡住。",
    "A rank orange all along is the straggler; the others wait for it at the end of each backward.": (
        "一直为橙色的 rank 就是掉队者；其他 rank 在每次反向结束时等它。"
    ),
    "Times are for one batch.": "时间均按一个 batch 计算。",
    (
        "The straggler works longer and waits for nobody; the others wait for it. Its clock, temperature "
        "and data wait say why."
    ): ("掉队者工作时间更长且不等别人；其他都在等它。它的频率、温度和数据等待说明原因。"),
    "Waits for peers": "等其他 rank",
    "Waits for data": "等数据",
    "Batch time by rank": "各 rank 每个 batch 的用时",
    "Waiting for peers, by rank": "等待其他 rank（按 rank）",
    "Time each rank waits for the others at the end of backward, for a batch.": (
        "各 rank 在每个 batch 的反向结束时等待其他 rank 的时间。"
    ),
    "Low on one and high on the others: that one is the straggler.": "一个低而其他都高：那一个就是掉队者。",
    "Waiting for data, by rank": "等待数据（按 rank）",
    "Time each rank waits for a batch.": "各 rank 等待一个 batch 的时间。",
    "High on one: its workers or its node's storage.": "某个高：它的数据加载 worker 或所在节点的存储。",
    "Time of backward without waiting for peers.": "反向时间，不含等待其他 rank。",
    "One above: that GPU computes slower.": "某条偏高：那块 GPU 计算更慢。",
    "Step time, by rank": "单步时间（按 rank）",
    "Half of the steps are shorter.": "一半的步短于该值。",
    "Equal: all wait for the slowest.": "相等：都在等最慢的。",
    "Different: they do not step together.": "不相等：它们不同步。",
    "slowest": "最慢",
    "Lag of the slowest rank, over time": "最慢 rank 的落后程度随时间变化",
    "Rising: heat, or a neighbour on that node.": "上升：过热，或该节点上有其他任务。",
    "Causes of a slow rank": "rank 变慢的原因",
    "Clock of the multiprocessors over the highest.": "流式多处理器频率除以最高频率。",
    "Equal and near 100 %.": "相等且接近 100%。",
    "One lower: throttled. The dashboard Node says by what.": "某个偏低：降频。“节点”仪表盘说明原因。",
    "Temperature, by rank": "温度（按 rank）",
    "Within 10 °C of each other.": "彼此相差不超过 10 °C。",
    "One hotter: its place in the case, its fan.": "某个更热：检查它在机箱中的位置和风扇。",
    "One higher: its processes share their CPUs. taskset, cpuset, fewer workers.": (
        "某个更高：它的进程与别人共享 CPU。用 taskset、cpuset，或减少 workers。"
    ),
    "A rank is slow when its own time for a batch is 10% longer than the mean of the others.": (
        "自身时间比其他 rank 的均值长 10% 以上即为慢的 rank。"
    ),
    "Above: every other rank waits with it.": "更高：其他 rank 都要跟着等。",
    "Active ranks": "存活的 rank",
    "One row for each rank, its own time for a batch as colour: the wait for other ranks is left out.": (
        "每个 rank 一行，颜色表示每个 batch 的自身时间，不含等待其他 rank。"
    ),
    "One row stands out: that rank's GPU, node or data. All change at once: clocks, or the batch.": (
        "某一行颜色突出：检查该 rank 的 GPU、节点和数据。所有行同时变化：GPU 频率或 batch 有变化。"
    ),
    "Own time for a batch, by rank": "各 rank 每个 batch 的自身时间",
    "SM clock / max, by rank": "SM 频率 / 最高（按 rank）",
    "Slow ranks over time": "慢的 rank 随时间变化",
    "The ranks of one run: which is slow, which wait for it, and why.": (
        "单个任务的各 rank：哪个慢、哪些在等它、为什么。"
    ),
    "The thick line is a rank that the others wait for: its GPU is slower, hotter, or shared.": (
        "粗线是其他 rank 在等待的 rank：它的 GPU 更慢、更热，或被共享。"
    ),
    "Waiting for a CPU, by rank": "等待 CPU（按 rank）",
    "Slow ranks": "慢的 rank",
    "slow: rank {{rank}}": "慢：rank {{rank}}",
}

_NODE: Final = {
    "yoloscope / Node": "yoloscope / 节点",
    "One node: its GPUs, CPUs, memory, disks and network, and who uses them.": (
        "一个节点：GPU、CPU、内存、磁盘和网络，以及谁在使用。"
    ),
    "One row for each GPU.": "每块 GPU 一行。",
    "n/a means that this GPU or driver does not have the figure; no data, that collecting it failed.": (
        "“不适用”表示该 GPU 或驱动不提供此数据；“无数据”表示采集失败。"
    ),
    "Model": "型号",
    "Status": "状态",
    "no runs": "没有任务",
    "To slowdown": "距降频温度",
    "Mean over the nodes chosen.": "所选节点的平均值。",
    "Full while GPUs wait: open Data pipeline.": "CPU 满而 GPU 在等：打开“数据管道”。",
    "Memory used": "已用内存",
    "Higher: the OOM killer is near. Fewer workers, cache=disk in place of cache=ram.": (
        "更高：OOM killer 将至。减少 workers，用 cache=disk 代替 cache=ram。"
    ),
    "/dev/shm used": "/dev/shm 已用",
    "Carries batches from workers to trainers; the fuller of node's and containers'. n/a: not mounted.": (
        "共享内存把 batch 从 worker 传给训练进程；取节点与各容器中较满者。不适用：未挂载。"
    ),
    "Full: loader workers die with a bus error. A larger shared memory (--shm-size, emptyDir sizeLimit).": (
        "用尽：worker 因 bus error 退出。增大共享内存（--shm-size、emptyDir sizeLimit）。"
    ),
    "Share of time in which some task waited for storage. n/a: this kernel does not measure pressure.": (
        "有任务等待存储的时间占比。不适用：该内核不统计资源压力。"
    ),
    "Higher: disks or network storage are too slow for what runs here.": "更高：磁盘或网络存储跟不上这里的任务。",
    "Swap": "交换区",
    "Any: memory was short. Training on swapped memory crawls.": "只要有：内存曾不足。使用交换区的训练会极慢。",
    "Time since the values shown were gathered.": "距所示数据采集的时间。",
    "Grows: the exporter's sampler hangs; see the collectors at the bottom.": (
        "增长：exporter 的采样器卡住；见底部的采集器。"
    ),
    "GPU activity": "GPU 工作情况",
    "GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}",
    "Saw teeth: waiting for data. Flat at zero: held but idle.": "锯齿：等待数据。一直为零：占用但空闲。",
    "warps resident": "驻留的 warp",
    "tensor cores": "张量核心",
    "memory bandwidth": "显存带宽",
    "Mean over the GPUs. Absent where the driver or the hardware has no such counters.": (
        "各 GPU 的平均。驱动或硬件没有此类计数器时不显示。"
    ),
    "Share of the driver's own fine samples in which the GPU was busy above 85 %.": (
        "驱动自身的细粒度采样中，GPU 利用率高于 85% 的占比。"
    ),
    "Lower at the same mean: the work comes in bursts, with gaps between.": (
        "平均值相同而此值低：工作断断续续，中间有空隙。"
    ),
    "GPU memory used": "已用显存",
    "Flat while training.": "训练时平稳。",
    "Climbing: see the dashboard GPU memory.": "上升：见“显存”仪表盘。",
    "Power against the limit": "功率与上限",
    "Below the limit, or at it on power-limited cards.": "低于上限；受功率限制的卡可等于上限。",
    "At the limit with a low clock: raise it (nvidia-smi -pl), if the cooling allows.": (
        "到达上限且频率低：散热允许时提高上限（nvidia-smi -pl）。"
    ),
    "{{sensor}} of GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}} 的 {{sensor}}",
    "Temperature against the slowdown": "温度与降频温度",
    "5 °C or more below.": "低 5 °C 以上。",
    "Close: the GPU slows itself down. Airflow, fans, dust, inlet temperature.": (
        "接近：GPU 会自行降频。检查风道、风扇、积灰和进风温度。"
    ),
    "memory, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，显存",
    "Clocks": "频率",
    "Clock over the highest; low at idle.": "频率除以最高频率；空闲时低。",
    "Low under load: throttled.": "有负载时低：降频。",
    "encoder, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，编码器",
    "decoder, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，解码器",
    "Memory follows the load, the others are zero.": "显存随负载变化，其余为零。",
    "Video work shares the GPU.": "有视频任务共享该 GPU。",
    "Energy": "能耗",
    "Follows power.": "随功率变化。",
    "High while the GPU waits: energy for nothing.": "GPU 在等待时仍然高：白白耗电。",
    "Throttling": "降频原因",
    "Grey; sw_power_cap under load is normal on power-limited cards.": (
        "灰色；受功率限制的卡在有负载时出现 sw_power_cap 属正常。"
    ),
    "Thermal: cooling. Power brake: the node's power supply. Both show in the step time.": (
        "thermal：散热。power brake：节点供电。两者都会体现在单步时间上。"
    ),
    "slowed down": "已降频",
    "P-state": "P-state",
    "P0 under load.": "有负载时为 P0。",
    "P2 or higher under load: a limit set by an operator, or heat.": "有负载时为 P2 或更高：运维设置的限制，或过热。",
    "P0, full speed": "P0，全速",
    "P1": "P1",
    "P2": "P2",
    "P3": "P3",
    "P4": "P4",
    "P5": "P5",
    "P6": "P6",
    "P7": "P7",
    "P8": "P8",
    "P9": "P9",
    "P10": "P10",
    "P11": "P11",
    "P12": "P12",
    "P13": "P13",
    "P14": "P14",
    "P15": "P15",
    "GPU links and health": "GPU 链路与健康",
    "to GPU {{gpu}} of {{instance}}": "到 {{instance}} 的 GPU {{gpu}}",
    "from GPU {{gpu}} of {{instance}}": "来自 {{instance}} 的 GPU {{gpu}}",
    "PCIe traffic": "PCIe 流量",
    "Far below the link's bandwidth.": "远低于链路带宽。",
    "Near it: larger batches do not help; pin_memory, fewer copies.": (
        "接近带宽：增大 batch 没有帮助；用 pin_memory，减少复制。"
    ),
    "lanes, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，通道数",
    "generation, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，代数",
    "highest generation, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，最高代数",
    "PCIe generation and lanes": "PCIe 代数与通道",
    "All lanes; the generation falls when the GPU idles.": "通道全开；GPU 空闲时代数会下降。",
    "Fewer lanes, or a low generation under load: reseat the card, look at the riser and the BIOS.": (
        "通道减少，或有负载时代数低：重新插卡，检查转接卡和 BIOS。"
    ),
    "NVLink traffic": "NVLink 流量",
    "Under DDP, a burst with each step.": "DDP 时每步一次脉冲。",
    "None under DDP: NCCL takes PCIe, see NCCL_DEBUG=INFO.": "DDP 时没有：NCCL 走了 PCIe，用 NCCL_DEBUG=INFO 查看。",
    "{{kind}}, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，{{kind}}",
    "NVLink errors": "NVLink 错误",
    "Replays above 1/s: a bad bridge or switch; drain the node.": "重放超过每秒 1 次：桥接器或交换机故障；排空节点。",
    "ECC errors": "ECC 错误",
    "Corrected ones now and then.": "偶尔有可纠正的错误。",
    "Uncorrected ones end programs: drain the node, reset the GPU.": "不可纠正的错误会终止程序：排空节点，复位 GPU。",
    "Xid {{xid}}, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，Xid {{xid}}",
    "Xid errors": "Xid 错误",
    "48, 79, 94, 95: hardware; drain the node. 13, 31, 43: the program. NVIDIA's Xid list has the rest.": (
        "48、79、94、95：硬件问题，排空节点。13、31、43：程序问题。其余见 NVIDIA 的 Xid 列表。"
    ),
    "Repairs": "修复",
    "Rows remapped and pages retired in the GPU's life; what the driver asks for.": (
        "GPU 生命周期内重映射的行和停用的页；驱动要求的操作。"
    ),
    "Pending, a recovery action, a fault of the fabric: reset the GPU when it is free. Failure, SRAM, or 63 retired "
    "pages: replace it.": "待处理、恢复操作、fabric 故障：GPU 空闲时复位。失败、SRAM 超限，或停用 63 页：更换。",
    "Rows, correctable": "行（可纠正）",
    "Rows, uncorrectable": "行（不可纠正）",
    "Pages retired": "停用的页",
    "Remap pending": "重映射待处理",
    "Remap failed": "重映射失败",
    "SRAM over threshold": "SRAM 错误超阈值",
    "Recovery action": "恢复操作",
    "Fabric faults": "fabric 故障",
    "CPU time by mode": "CPU 时间按模式",
    "CPUs in each mode, over the nodes chosen; idle is left out.": "所选节点各模式占用的 CPU 数；不含 idle。",
    "user fills most; iowait small.": "主要是 user；iowait 很小。",
    "iowait: storage. system: many small files or threads. steal: the host is shared.": (
        "iowait：存储。system：小文件或线程过多。steal：宿主机被共享。"
    ),
    "load of {{instance}}": "{{instance}} 的负载",
    "CPUs of {{instance}}": "{{instance}} 的 CPU 数",
    "Load and CPUs": "负载与 CPU 数",
    "Load below the CPUs.": "负载低于 CPU 数。",
    "Above twice the CPUs: too many workers or threads; OMP_NUM_THREADS=1.": (
        "超过 CPU 数两倍：进程或线程太多；设 OMP_NUM_THREADS=1。"
    ),
    "Context switches": "上下文切换",
    "A jump without more work: threads fight for the CPUs.": "工作没有增加却突增：线程在争抢 CPU。",
    "used": "已用",
    "page cache": "页缓存",
    "available": "可用",
    "Used below 90 %, the rest is page cache.": "已用低于 90%，其余为页缓存。",
    "Used climbs all along: a leak, or cache=ram filling.": "已用一直上升：泄漏，或 cache=ram 正在填充。",
    "Pressure": "资源压力",
    "Share of time in which some or all tasks waited for the resource; absent on old kernels.": (
        "部分（some）或全部（full）任务等待该资源的时间占比；旧内核没有此数据。"
    ),
    "full: everything stood still. memory: reclaim, soon the OOM killer. io: storage. cpu: too few.": (
        "full：全部停住。memory：正在回收，OOM killer 将至。io：存储。cpu：太少。"
    ),
    "{{mountpoint}} of {{instance}}": "{{instance}} 的 {{mountpoint}}",
    "File systems used": "文件系统使用率",
    "Share of each file system in use.": "各文件系统的使用占比。",
    "Full: checkpoints fail. Delete old runs' weights and the .npy files of cache=disk.": (
        "用尽：保存检查点会失败。删除旧任务的权重和 cache=disk 产生的 .npy 文件。"
    ),
    "CPU and memory": "CPU 与内存",
    "read, {{device}} of {{instance}}": "{{instance}} 的 {{device}}，读",
    "written, {{device}} of {{instance}}": "{{instance}} 的 {{device}}，写入量",
    "Disk traffic": "磁盘流量",
    "Bursts in the first epoch and at checkpoints.": "第一个 epoch 和保存检查点时有脉冲。",
    "Constant reading: data larger than memory.": "持续读取：数据大于内存。",
    "write, {{device}} of {{instance}}": "{{instance}} 的 {{device}}，写",
    "Time of a disk operation": "磁盘操作用时",
    "Mean time of a read and of a write.": "一次读和一次写的平均时间。",
    "Below 1 ms on NVMe, 10 ms on network disks.": "NVMe 低于 1 毫秒，网络磁盘低于 10 毫秒。",
    "Growing: the disk or the network behind it is full.": "增长：磁盘或其背后的网络已饱和。",
    "in, {{device}} of {{instance}}": "{{instance}} 的 {{device}}，入",
    "out, {{device}} of {{instance}}": "{{instance}} 的 {{device}}，出",
    "Network traffic": "网络流量",
    "Data from network storage, gradients.": "来自网络存储的数据，以及梯度。",
    "Near the link's speed: storage or DDP is limited.": "接近链路速率：存储或 DDP 受限。",
    "Network errors": "网络错误",
    "Any: cable, transceiver, or a full queue.": "只要有：检查线缆、光模块或队列溢出。",
    "Disks and network": "磁盘与网络",
    "Processes and runs": "进程与任务",
    "Processes on the GPUs": "GPU 上的进程",
    "Node, GPU, process": "节点、GPU、进程",
    "Share of the GPU": "GPU 占用",
    "What you expect.": "与预期一致。",
    "{{collector}} of {{instance}}": "{{instance}} 的 {{collector}}",
    "All working.": "全部正常。",
    "One fails: the exporter's log says why, once; its panels show no data.": (
        "某个失败：exporter 日志会说明一次原因；它的面板显示无数据。"
    ),
    "failing": "失败",
    "working": "正常",
    "Duration of the collectors": "采集器用时",
    "Seconds: a hung mount, or a driver that does not answer.": "达到几秒：挂载卡死，或驱动没有响应。",
    "docs/metrics.md says what each reason means; most often a driver that answers nonsense.": (
        "docs/metrics.zh-CN.md 说明每个原因的含义；多为驱动返回了无意义的值。"
    ),
    "Since each collector's last success": "距各采集器上次成功",
    "Time since each collector last succeeded.": "距各采集器上次成功的时间。",
    "Minutes: it fails or hangs.": "达到几分钟：失败或卡住。",
    "Cost of the hooks": "hooks 的开销",
    "Share of the trainers' time.": "占训练进程时间的比例。",
    "More: report it, with the versions of Ultralytics and torch.": (
        "更高：请反馈，并附上 Ultralytics 和 torch 的版本。"
    ),
    "Errors in the hooks": "hooks 中的错误",
    "The trainer's log has one warning; the hooks turn themselves off and training goes on.": (
        "训练日志中有一条警告；hooks 会自行关闭，训练继续。"
    ),
    "Exporter": "exporter",
    "Run started": "任务开始",
    "Utilization samples above 85 %": "利用率高于 85% 的采样",
    "Data age": "数据时效",
    "SM, tensor core and memory activity": "SM、tensor core 与显存活动",
    "Runs on the node": "该节点上的任务",
    "Rejected values": "无效数值",
    "SM active": "SM 活跃",
    "Memory, encoder and decoder utilization": "显存、编码器与解码器利用率",
    "SM, GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，SM",
    "limit of GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，上限",
    "slowdown of GPU {{gpu}} of {{instance}}": "{{instance}} 的 GPU {{gpu}}，降频温度",
    "SM active above 60 %.": "SM 活跃高于 60%。",
    "Utilization high, but few SMs active: the batch is too small, or CUDA kernels are.": (
        "利用率高但活跃的 SM 少：batch 太小，或 CUDA kernel 太小。"
    ),
    "A process without a run: somebody else's, or one whose trainer died. nvidia-smi, then end it.": (
        "不属于任何任务的进程：别人的，或训练进程已异常退出的。用 nvidia-smi 查看后结束它。"
    ),
    "A click on the run opens it.": "点击任务即可打开。",
    "Each GPU has one run.": "每块 GPU 只有一个任务。",
    "None while GPUs are in use: a run without yoloscope's hooks.": (
        "GPU 在使用却没有任务：该任务没有启用 yoloscope 的 hooks。"
    ),
    "One row for each run with a rank on the nodes chosen.": "每个在所选节点上有 rank 的任务一行。",
    "any GPU, any reason": "任一 GPU，任一原因",
    "{{instance}}, GPU {{gpu}}, {{reason}}": "{{instance}} 的 GPU {{gpu}}，{{reason}}",
    "While training: utilization above 85 %, no throttling, 5 °C or more to slowdown, all PCIe lanes.": (
        "训练时：利用率高于 85%，没有降频，距降频温度 5 °C 以上，PCIe 通道全开。"
    ),
}

_COMPARE: Final = {
    "yoloscope / Compare": "yoloscope / 对比",
    ("Two runs side by side, over their whole course and over epochs. Needs Grafana 9.4 or newer for the curves."): (
        "两个任务并排对比：全程数据和按 epoch 的曲线。曲线需要 Grafana 9.4 或更新版本。"
    ),
    "Change from run A to run B": "从任务 A 到任务 B",
    "Throughput": "吞吐",
    "Set the time range so that it holds both runs whole.": "请把时间范围设为完整包含两个任务。",
    "0 % if nothing changed.": "没有变化时为 0%。",
    "Orange: B leaves the GPU waiting more.": "橙色：B 让 GPU 等得更多。",
    "Orange: B waits more: workers, cache, storage.": "橙色：B 等待更多：检查 workers、cache、存储。",
    "Peak memory": "显存峰值",
    "Follows batch and imgsz.": "随 batch 和 imgsz 变化。",
    "More without a larger batch: look at the differences below.": "batch 没变却更多：看下方的配置差异。",
    "Best mAP50-95": "最佳 mAP50-95",
    "Within 2 % between two seeds.": "不同随机种子之间相差不超过 2%。",
    "Orange: B learnt less; faster is no gain then.": "橙色：B 学得更差；此时更快没有意义。",
    "Duration": "时长",
    "Comparable only after as many epochs.": "epoch 数相同才可比较。",
    "Longer at higher throughput: more epochs or images.": "吞吐更高却更长：epoch 或图像更多。",
    "Side by side": "并排对比",
    "Both runs": "两个任务",
    "Two rows.": "两行。",
    "no differences": "没有差异",
    "One row: the other run lies outside the time range.": "只有一行：另一个任务不在时间范围内。",
    "Energy per epoch": "每个 epoch 的能耗",
    "Empty when both runs are configured alike. Batch size and workers stand in the table above.": (
        "两个任务配置相同时为空。batch size 和 worker 数见上表。"
    ),
    "What you changed, and nothing else.": "只有你改动过的项。",
    "A version or a cache setting that differs by accident explains more than any tuning.": (
        "意外不同的版本或缓存设置，往往比任何调参更能说明问题。"
    ),
    "Setting": "配置项",
    "Share of time by verdict": "各结论持续的时间占比",
    "compute_bound near 100 % in both.": "两者的 compute_bound 都接近 100%。",
    "The verdict that grew is what slowed the run.": "占比增大的结论就是变慢的原因。",
    "Over epochs": "按 epoch",
    "Components added up.": "各分量之和。",
    "Both fall alike.": "两者下降一致。",
    "B above A from the start: another lr0 or batch.": "B 从一开始就高于 A：lr0 或 batch 不同。",
    "The value of the last validation.": "最近一次验证的值。",
    "Both rise alike.": "两者上升一致。",
    "B below A: the change costs accuracy.": "B 低于 A：该改动损失了精度。",
    "The same course.": "走势相同。",
    "Different: lr0, epochs, batch or warm-up differ.": "不同：lr0、epochs、batch 或预热不同。",
    "One falls after some epochs: throttling, a leak, or the end of mosaic.": (
        "某个在若干 epoch 后下降：降频、泄漏，或 mosaic 结束。"
    ),
    "Waiting for data, by epoch": "等待数据（按 epoch）",
    "Low after the first epoch.": "第一个 epoch 之后低。",
    "High in the first epoch alone: cold files. In all: the loader.": (
        "仅第一个 epoch 高：文件未缓存。每个 epoch 都高：数据加载。"
    ),
    "Flat and high.": "平稳且高。",
    "Lower in B: look at waiting for data beside it.": "B 更低：看旁边的等待数据。",
    "A or B": "A 或 B",
    "Blue: B is faster. Orange: Share of time by verdict says why.": (
        "蓝色：B 更快。橙色：原因见“各结论持续的时间占比”。"
    ),
    "GPU utilization, by epoch": "GPU 利用率（按 epoch）",
}

_INFERENCE: Final = {
    "yoloscope / Inference": "yoloscope / 推理",
    "What one process predicts: how fast, how long an image waits, and where the time between two batches goes.": (
        "一个进程的预测：速度、每张图像等待多久、两个 batch 之间的时间用在哪里。"
    ),
    "The verdicts on these predictions that hold now, each with its fix; of validations that on callbacks, "
    "of exports none.": "当前成立的预测结论及其修改方法；验证只有关于回调的结论，导出没有结论。",
    "predict, validate or export, then finished, or stopped by Ctrl-C or SIGTERM.": (
        "先是 predict、validate 或 export，然后是 finished，或由 Ctrl-C 或 SIGTERM 停止（stopped）。"
    ),
    "killed: look at dmesg and the job's log. failed: an exception ended the program.": (
        "killed：查看 dmesg 和作业日志。failed：程序因异常结束。"
    ),
    "What the model gives on this device.": "该设备上模型能达到的速度。",
    "Look below where the time between two batches goes.": "看下方两个 batch 之间的时间用在哪里。",
    "It grows: larger images, more boxes, somebody else on the GPU.": (
        "变长：图像更大、检测框更多，或 GPU 上有其他进程。"
    ),
    "A few times the median.": "中位数的几倍。",
    "Far above the median: now and then an image waits; see Latency of an image.": (
        "远高于中位数：时不时有图像要等待；见“单张图像的延迟”。"
    ),
    "Time in the model": "模型推理占比",
    "Above 50 %.": "高于 50%。",
    "Below: something else holds predictions back.": "更低：有其他环节拖慢了预测。",
    "Under 25 %, but for cameras and streams, which set the pace.": "低于 25%；摄像头和视频流除外，它们决定节奏。",
    "Decoding or reading is slow: vid_stride, smaller frames or files, a local disk.": (
        "解码或读取太慢：vid_stride、更小的画面或文件、本地磁盘。"
    ),
    "Minutes: the source blocks, or your own code holds the generator.": (
        "几分钟：数据源阻塞，或自己的代码没有继续取结果。"
    ),
    "Under 25 %.": "低于 25%。",
    "A thread or process of its own for it, several images in one call, save=False.": (
        "放到单独的线程或进程，一次调用传入多张图像，save=False。"
    ),
    "Where the time goes": "时间分布",
    "Blue, the model, fills most of what is not idle.": "除空闲外，大部分是蓝色（模型）。",
    "source: decoding, reading. postprocess: too many boxes. user, callbacks, save: your own work.": (
        "source：解码、读取。postprocess：检测框太多。user、callbacks、save：自己的工作。"
    ),
    (
        "Where the time went: preprocess, inference and postprocess by Ultralytics' own profilers; waiting for the "
        "source; trackers and other callbacks; saving and drawing; models that are made again and again (load); your "
        "own code (user: all the time for which a generator waits, and the CPU time between two calls), and what else "
        "was between calls (idle). Threads add up."
    ): (
        "时间分布：preprocess、inference、postprocess 来自 Ultralytics 自己的计时器；等待数据源；跟踪器和其他回调函数；"
        "保存和绘图；反复创建模型（load）；自己的代码（user：生成器等待的全部时间，以及两次调用之间的 CPU 时间）；"
        "两次调用之间的其余时间（idle）。各线程的时间相加。"
    ),
    "One blue bar, inference_bound.": "只有一条蓝色：inference_bound。",
    "Orange slows predictions: its fix stands in the table above.": "橙色拖慢预测：修改方法见上方的表格。",
    "Verdicts on predictions, while they held for a rank.": "预测的诊断结论在各时段是否成立。",
    "Latency and throughput": "延迟与吞吐量",
    "Latency of an image": "单张图像的延迟",
    "Two bands: two kinds of images, or the GPU is shared.": "两条带：有两类图像，或 GPU 被共用。",
    "Latency, quantiles": "延迟（分位数）",
    "The two lines lie close together.": "两条线靠得很近。",
    "A 99 % line far above: some images take long, by their boxes or by who else is on the GPU.": (
        "99% 的线远高于另一条：部分图像耗时长，因为检测框多，或 GPU 上有其他进程。"
    ),
    "Time from an image's arrival to its result that half, and 99 of 100, of the images stay below.": (
        "从图像到达到得到结果的时间：一半的图像、100 张中有 99 张低于该值。"
    ),
    "half of the images": "一半的图像",
    "99 % of the images": "99% 的图像",
    "Time by part, without idle time": "各部分用时占比（不含空闲）",
    "The model has the most.": "模型占得最多。",
    "Another part above 25 % holds predictions back; the table Diagnosis says what to type.": (
        "其他部分高于 25% 时拖慢预测；“诊断”表说明如何修改。"
    ),
    "What the time of predictions went into; set-up and idle time do not count.": (
        "预测时间用在哪里；初始化和空闲时间不计入。"
    ),
    "your own code, trackers, saving": "自己的代码、跟踪与保存",
    "Falling: throttling, more boxes, somebody else on the GPU.": "下降：GPU 降频、检测框更多，或 GPU 上有其他进程。",
    "A few.": "几个。",
    "High while images are asked for.": "有请求时高。",
    "Low with much time in the model: small batches, see the diagnosis. High without: other work.": (
        "低而模型推理占比高：batch 太小，见诊断结论。两者相反：有其他任务占用。"
    ),
    "Share of time in which the GPU that predicts ran a kernel, of this process or of another.": (
        "做预测的 GPU 上有 CUDA kernel 在运行的时间占比，包括其他进程的 kernel。"
    ),
    "no exports": "没有导出",
    "Hundreds: postprocessing takes long. A higher conf, a lower max_det.": (
        "几百个：后处理耗时长。提高 conf，降低 max_det。"
    ),
    "CUDA memory": "CUDA 显存",
    "It grows and grows: results are kept on the GPU.": "持续增长：结果被保留在 GPU 上。",
    "Alerts, configuration and exports": "告警、配置与导出",
    "fp32 on a card with tensor cores, batch 1, or a source of another kind is often the explanation.": (
        "在有 Tensor Core 的卡上用 fp32、batch 为 1，或数据源类型不同，往往就是原因。"
    ),
    "mode": "mode",
    "task": "task",
    "format": "format",
    "precision": "precision",
    "batch": "batch",
    "source": "source",
    "stream": "stream",
    "A row for each format that was exported: how long it took and how large it is.": "每种导出格式一行：耗时和大小。",
    "Format": "格式",
    "Size": "大小",
}

TEXTS: Final = {
    **_COMMON,
    **_LIFECYCLE,
    **_FLEET,
    **_RUN,
    **_DATA,
    **_MEMORY,
    **_RANKS,
    **_NODE,
    **_COMPARE,
    **_INFERENCE,
}
