"""Fixes and causes in Chinese: clause by clause, from one table; the causes of a death by their name.

Arguments, commands and names stay as they are.

A clause that the table lacks stays in English; tests/exporter/diagnosis/test_chinese.py finds those.
"""

from __future__ import annotations

import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What stands between two clauses of a fix.
BETWEEN: Final = "; "
#: A clause in English -> in Chinese; `{}` is a number, a name, or a clause of its own, in the same order in both.
CLAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # predicting
        "or give it smaller frames (ffmpeg -vf scale=1280:-2), from a local disk": (
            "或改用更小的画面（ffmpeg -vf scale=1280:-2），并放在本地磁盘上"
        ),
        "put the images on a local SSD, store them smaller, or read ahead in threads of your own and pass arrays": (
            "把图像放到本地 SSD、存成更小的尺寸，或在自己的线程里提前读取并传入数组"
        ),
        "prepare the next images in a thread of your own meanwhile": "在自己的线程里同时准备后面的图像",
        "name only the classes that you need (classes=)": "只保留需要的类别（classes=）",
        "keep the results as numbers": "只保留数值结果",
        "a tracker without ReID (with_reid: False in its YAML), and callbacks that hand their work to a thread": (
            "使用不带 ReID 的跟踪器（YAML 中 with_reid: False），回调函数把工作交给线程"
        ),
        "pass several images in one call": "一次调用传入多张图像",
        "do your own work in a thread or process of its own while the next batch is predicted": (
            "把自己的工作放到单独的线程或进程，与下一个 batch 的预测同时进行"
        ),
        "an exported model takes the batch it was exported with (dynamic=True for any)": (
            "导出的模型只接受导出时的 batch（dynamic=True 时任意）"
        ),
        "or export once: yolo export format=engine half=True": "或导出一次：yolo export format=engine half=True",
        "export it again: yolo export format={} half=True": "重新导出：yolo export format={} half=True",
        "faster still: yolo export format={}": "还可以更快：yolo export format={}",
        # loading
        "for each of the ranks, as workers= always is": "workers= 始终按每个 rank 计",
        "Ultralytics starts at most {}: {}": "Ultralytics 最多启动 {} 个：{}",
        "Ultralytics starts at most {} if the run sees all {} GPUs": (
            "Ultralytics 最多启动 {} 个（任务能看到全部 {} 个 GPU 时）"
        ),
        "an epoch has {} batches": "一个 epoch 只有 {} 个 batch",
        "an epoch has {} batch": "一个 epoch 只有 {} 个 batch",
        "{} CPUs over {} visible GPUs": "{} 个 CPU 由 {} 个可见 GPU 平分",
        "{} CPU over {} visible GPUs": "{} 个 CPU 由 {} 个可见 GPU 平分",
        "{} CPUs": "{} 个 CPU",
        "{} CPU": "{} 个 CPU",
        "the data set takes {} decoded, {} may be used": "数据集解码后占 {}，可以使用 {}",
        "decoded, the data set takes {}: too much for cache=ram ({} may be used)": (
            "数据集解码后占 {}，对 cache=ram 来说太大（可以使用 {}）"
        ),
        "it writes {} beside the images, where {} are free": "会在图像旁写入 {}，该处剩余 {}",
        "put the data set on a local SSD or NVMe disk": "把数据集放到本地 SSD 或 NVMe 磁盘上",
        "lighten the augmentation (mosaic=0 reads a quarter of the images) and your own transforms, or use more CPUs": (
            "减轻数据增强（mosaic=0 只读四分之一的图像）和自己的 transforms，或使用更多 CPU"
        ),
        "lighten the augmentation and your own transforms, or use more CPUs": (
            "减轻数据增强和自己的 transforms，或使用更多 CPU"
        ),
        "or {}": "或{}",
        "and cv2.setNumThreads(0) in your own transforms": "并在自己的 transforms 中调用 cv2.setNumThreads(0)",
        "raise the CPU limit from {} to about {} CPUs": "把 CPU 限额从 {} 提高到约 {} 个 CPU",
        "raise the CPU limit": "提高 CPU 限额",
        "or keep the workers and {}": "或保持 worker 数不变，{}",
        "keep the workers from epoch to epoch (persistent_workers=True in your own loader": (
            "让 worker 跨 epoch 保留（自己的 loader 用 persistent_workers=True"
        ),
        "Ultralytics' does), keep the data set small to pickle (arrays instead of lists), fork instead of spawn": (
            "Ultralytics 的 loader 本来如此），让数据集便于 pickle（用数组代替列表），用 fork 代替 spawn"
        ),
        "look at what they wait for: py-spy dump --pid <a worker>, three times (a lock, a pipe, a download, sleep, "
        "a remote file system)": (
            "查看它们在等什么：对一个 worker 执行三次 py-spy dump --pid PID（锁、管道、下载、sleep、远程文件系统）"
        ),
        "more workers help if they do not wait for the same thing": "如果它们等的不是同一个东西，增加 worker 有用",
        "a higher workers= has no effect: Ultralytics starts at most os.cpu_count() // GPUs for a rank": (
            "再增大 workers= 没有作用：Ultralytics 每个 rank 最多启动 os.cpu_count() // GPU 数个"
        ),
        "more CPUs for each GPU, fewer visible GPUs (CUDA_VISIBLE_DEVICES), or less to prepare": (
            "给每个 GPU 更多 CPU，减少可见 GPU（CUDA_VISIBLE_DEVICES），或减少预处理"
        ),
        "start it without taskset or numactl": "启动时不要用 taskset 或 numactl",
        "in Slurm --cpus-per-task with the CPUs that the workers need": (
            "在 Slurm 中用 --cpus-per-task 给出 worker 所需的 CPU"
        ),
        "unset KMP_AFFINITY, GOMP_CPU_AFFINITY and OMP_PROC_BIND, which pin the process that workers are forked from": (
            "取消 KMP_AFFINITY、GOMP_CPU_AFFINITY 和 OMP_PROC_BIND，它们绑定了 fork 出 worker 的进程"
        ),
        "Ultralytics sets workers=0 on a CPU and on MPS, whatever is asked for": (
            "在 CPU 和 MPS 上，无论如何设置，Ultralytics 都使用 workers=0"
        ),
        "check the files, the mount and the CPU of worker {}": "检查 worker {} 的文件、挂载点和 CPU",
        "run it on a node of its own, or give it CPUs of its own (Slurm --cpus-per-task, a cgroup's cpuset)": (
            "让它独占一个节点，或独占若干 CPU（Slurm --cpus-per-task，cgroup 的 cpuset）"
        ),
        # memory and batch
        "an optimizer step stays at {} images by nbs (accumulate= is refused), the weight decay as it is": (
            "通过 nbs 使每个优化器步保持 {} 张图像（accumulate= 不被接受），weight decay 不变"
        ),
        "an optimizer step takes {} images instead of {}": "每个优化器步用 {} 张图像，原来是 {} 张",
        "an optimizer step takes {} images instead of {}, the weight decay is {} of now's": (
            "每个优化器步用 {} 张图像，原来是 {} 张，weight decay 是现在的 {} 倍"
        ),
        "batch normalisation sees {} images instead of {}": "batch normalisation 用 {} 张图像，原来是 {} 张",
        "fewer, larger steps": "步数更少、每步更大",
        "a smaller batch=, or a smaller imgsz=": "减小 batch= 或 imgsz=",
        "the batch is as small as it can be": "batch 已经是最小",
        "fewer GPUs, or a faster link between them: a larger batch does not fit": (
            "减少 GPU，或使用更快的 GPU 互连：更大的 batch 放不下"
        ),
        "the fullest GPU bounds the batch": "最满的 GPU 限制了 batch",
        "in your own code choose the device before the first CUDA call (torch.cuda.set_device(LOCAL_RANK)) and load "
        "checkpoints with map_location='cpu'": (
            "在自己的代码中，先选择设备（torch.cuda.set_device(LOCAL_RANK)）再做第一次 CUDA 调用，"
            "并用 map_location='cpu' 加载检查点"
        ),
        "detach() what is kept, and release it in on_train_batch_end": (
            "对要保留的张量调用 detach()，并在 on_train_batch_end 中释放"
        ),
        "drop references in on_train_batch_end": "在 on_train_batch_end 中释放引用",
        "lists of Python objects in a data set belong into one array": "数据集中的 Python 对象列表改为一个数组",
        "each worker holds its own batches": "每个 worker 各自持有自己的 batch",
        "a RAM cache comes on top": "RAM 缓存另外占用内存",
        # installation and hardware
        "docker run --ipc=host or --shm-size=8g": "docker run --ipc=host 或 --shm-size=8g",
        "docker run --shm-size=8g or --ipc=host": "docker run --shm-size=8g 或 --ipc=host",
        "in Kubernetes an emptyDir with medium: Memory": "在 Kubernetes 中用 medium: Memory 的 emptyDir",
        "in Kubernetes an emptyDir, medium: Memory": "在 Kubernetes 中用 medium: Memory 的 emptyDir",
        "install a CUDA build: pip install torch --index-url of pytorch.org/get-started": (
            "安装 CUDA 版：pip install torch，--index-url 见 pytorch.org/get-started"
        ),
        "update the driver, or install PyTorch built for CUDA {} or older": (
            "更新驱动，或安装为 CUDA {} 及更早版本构建的 PyTorch"
        ),
        "see what the log says after 'AMP:'": "查看日志中 'AMP:' 之后的内容",
        "without a network put the model it names into the working directory": "没有网络时，把它提到的模型放到工作目录",
        "on GTX 16xx cards AMP is broken and amp=False is right": "GTX 16xx 显卡的 AMP 有问题，应当用 amp=False",
        "ask its user, and end process {} if nobody needs it": "询问其用户，如果没有人需要，就结束进程 {}",
        "cooling, dust, rack temperature": "检查散热、灰尘和机柜温度",
        "nvidia-smi -pl lowers the power limit meanwhile": "在此期间可用 nvidia-smi -pl 降低功率上限",
        "check power supplies and cables, the rack's power limit": "检查电源、线缆和机柜的功率上限",
        "nvidia-smi -pl <watts> below it meanwhile": "在此期间用 nvidia-smi -pl 设为更低的瓦数",
        "raise the limit where that is allowed: nvidia-smi -pl <watts>": "在允许时提高上限：nvidia-smi -pl 瓦数",
        "nothing while copies are quick (h2d_bound says so)": "只要复制够快就不必处理（否则会有 h2d_bound）",
        "else reseat the card, or use a full slot": "否则重新插卡，或使用完整带宽的插槽",
        # learning
        "halve lr0 and name an optimizer (auto ignores lr0)": "lr0 减半，并指定 optimizer（auto 会忽略 lr0）",
        "a larger batch": "增大 batch",
        "a larger batch (now {})": "增大 batch（现在是 {}）",
        "warmup_epochs up": "增大 warmup_epochs",
        "leave the hardware alone: look at labels, model size, learning rate": (
            "不是硬件问题：检查标签、模型大小和学习率"
        ),
        # the course of a run
        "check shared memory (/dev/shm) and the storage's mount, then restart with resume=True": (
            "检查共享内存（/dev/shm）和存储挂载，然后用 resume=True 重新启动"
        ),
        "kill -CONT {} lets it go on": "kill -CONT {} 让它继续",
        "kill -CONT lets it go on": "kill -CONT 让它继续",
        "look at {} and where it lies: the mount, the server, or a pipe nobody serves": (
            "查看 {} 及其所在位置：挂载点、服务器，或没有写入方的管道"
        ),
        "continue from the last checkpoint": "从最后一个检查点继续",
        "look at the end of the log first": "先看日志末尾",
        "nothing, if it happens once": "只发生一次则不必处理",
        "yoloscope report --black-box RUN lists the batches around it": (
            "yoloscope report --black-box RUN 列出它前后的 batch"
        ),
        "look at the file {}: its size, and where it lies": "查看文件 {}：大小和所在位置",
        "the exception's last line says what to fix": "异常的最后一行说明要改什么",
        "resume=True continues from the checkpoint": "resume=True 从检查点继续",
        "{} is not advised again: {} after {} brought {}": "不再建议 {}：{} 相对于 {} 的效果为 {}",
        # parts of a step
        "give its loader what its peers have: same storage, same CPUs (numactl, affinity)": (
            "让它的 loader 与其他 rank 条件相同：同样的存储、同样的 CPU（numactl、亲和性）"
        ),
        "look at its PCIe link": "检查它的 PCIe 链路",
        "let the callback do less in this rank (callback_bound names it), or hand its work to a thread": (
            "让该 rank 的回调少做一些（callback_bound 会指明是哪个），或把工作交给线程"
        ),
        "look at what its preprocess_batch does besides copies (preprocess_bound)": (
            "检查它的 preprocess_batch 除拷贝外还做了什么（preprocess_bound）"
        ),
        "`yoloscope diagnose --prometheus URL` sees the ranks of all nodes, and says which it is": (
            "`yoloscope diagnose --prometheus URL` 能看到所有节点的 rank，会指明是哪一种"
        ),
        "look at its GPU: clocks, throttling, another process on it": "检查它的 GPU：频率、降频、是否有其他进程",
        "it ends early stopping (patience), and best.pt becomes the last epoch": (
            "早停（patience）不再起作用，best.pt 为最后一个 epoch"
        ),
        "validate with `yolo val` afterwards, or keep it and take a smaller validation set": (
            "之后用 `yolo val` 验证，或保留验证并缩小验证集"
        ),
        "checkpoints every epoch are Ultralytics' own": "每个 epoch 的检查点是 Ultralytics 自己写的",
        "write them to a local disk (project=)": "把它们写到本地磁盘（project=）",
        "look at the PCIe link (pcie_degraded) and at transforms that return floats instead of bytes": (
            "检查 PCIe 链路（pcie_degraded），以及返回浮点数而不是字节的 transforms"
        ),
        "pinned memory needs loader workers": "锁页内存需要数据加载 worker",
        "yolo settings {}=False switches it off": "yolo settings {}=False 可以关闭它",
        "call it every N batches only, or let it hand its work to a thread": (
            "每 N 个 batch 才调用一次，或把它的工作交给一个线程"
        ),
        "move what it does into the data set, where workers do it beside training": (
            "把它做的事移到数据集中，由 worker 在训练的同时完成"
        ),
        "multi_scale=False": "multi_scale=False",
        # set-up
        "copy the data set to a local disk, and make its labels folder writable: labels.cache spares the next scan": (
            "把数据集复制到本地磁盘，并让 labels 文件夹可写：labels.cache 省去下一次扫描"
        ),
        "cache=False starts at once": "cache=False 会立即开始",
        "the data set on a local disk is cached faster": "数据集在本地磁盘上时缓存更快",
        "put that model (the log names it) into the working directory, or amp=False, which skips the check and AMP": (
            "把该模型（见日志）放到工作目录，或用 amp=False，它会跳过检查和 AMP"
        ),
        "a number for batch= spares it": "给 batch= 一个数字即可省去",
        "model= with the path of a file on a local disk": "model= 用本地磁盘上的文件路径",
        "a data set that is small to pickle, where workers are spawned": "用 spawn 启动 worker 时，让数据集便于 pickle",
        "look whether every rank was started": "查看是否每个 rank 都已启动",
        "MASTER_ADDR, MASTER_PORT and firewalls": "检查 MASTER_ADDR、MASTER_PORT 和防火墙",
        "NCCL_DEBUG=INFO says more": "NCCL_DEBUG=INFO 给出更多信息",
        "yoloscope stacks RUN says what it does": "yoloscope stacks RUN 显示它在做什么",
        # causes of a failure
        "a smaller batch, or imgsz": "减小 batch 或 imgsz",
        "batch=-1 measures what fits": "batch=-1 会测出放得下的值",
        "nvidia-smi shows who else holds memory": "nvidia-smi 显示还有谁占用显存",
        "compare the labels' classes with `nc` and `names`": "把标签的类别与 `nc` 和 `names` 比较",
        "CUDA_LAUNCH_BLOCKING=1 or device=cpu shows the line": "CUDA_LAUNCH_BLOCKING=1 或 device=cpu 可以看到是哪一行",
        "CUDA_LAUNCH_BLOCKING=1 names the call": "CUDA_LAUNCH_BLOCKING=1 给出出错的调用",
        "another version of torch or of the driver": "换一个版本的 torch 或驱动",
        "dmesg for Xid 13, 31": "在 dmesg 中查找 Xid 13、31",
        "dmesg | grep -i xid": "dmesg | grep -i xid",
        "nvidia-smi -q -d ECC": "nvidia-smi -q -d ECC",
        "drain the node, reset the GPU, resume=True elsewhere": "排空节点，复位 GPU，在别处用 resume=True 继续",
        "a torch built for the GPU's compute capability: `torch.cuda.get_arch_list()` lists what there is": (
            "安装支持该 GPU 计算能力的 torch：`torch.cuda.get_arch_list()` 列出所支持的"
        ),
        "a newer driver, or a torch for an older CUDA": "更新驱动，或安装面向较旧 CUDA 的 torch",
        "in a container the NVIDIA runtime": "在容器中使用 NVIDIA runtime",
        "the rank that did not come has the fault: its log, its stacks": "没有到达的 rank 有问题：看它的日志和堆栈",
        "look at the rank that ended first, it has the cause": "看最先结束的 rank，原因在那里",
        "look at the rank that failed, it has the cause": "看失败的 rank，原因在那里",
        "journalctl -k names the kernel's OOM killer": "journalctl -k 会显示内核的 OOM killer",
        "a native library that crashes shows with workers=0": "原生库崩溃时，用 workers=0 可以看到",
        "df -h and df -i of the project's folder, of /tmp and of the cache": (
            "对 project 文件夹、/tmp 和缓存执行 df -h 和 df -i"
        ),
        "save_period=-1 keeps two checkpoints only": "save_period=-1 只保留两个检查点",
        "the log names files": "日志中有文件名",
        "compare `nc` and `names` with the labels, and delete labels.cache after a correction": (
            "把 `nc` 和 `names` 与标签比较，改正后删除 labels.cache"
        ),
        "the path in the data set's YAML (`path`, `train`, `val`), and whether it is mounted on this node": (
            "检查数据集 YAML 中的路径（`path`、`train`、`val`），以及它是否挂载在该节点上"
        ),
        "open the file that the message names": "打开消息中提到的文件",
        "in a network mount look at the server": "网络挂载则检查服务器",
        "fewer workers, cache=False": "减少 workers，cache=False",
        "free -h, and who else uses memory": "free -h，并查看还有谁占用内存",
        "ulimit -n 65536": "ulimit -n 65536",
        "fewer workers": "减少 workers",
        "torch.multiprocessing.set_sharing_strategy('file_system')": (
            "torch.multiprocessing.set_sharing_strategy('file_system')"
        ),
        "a lower lr0, amp=False, warmup_epochs=5": "减小 lr0，amp=False，warmup_epochs=5",
        "labels with boxes outside of their images": "检查是否有框超出图像的标签",
        "nothing, if it was meant": "如果是有意的则不必处理",
        "resume=True goes on from the last checkpoint": "resume=True 从最后一个检查点继续",
        "pip install what the message names, into the Python that trains": (
            "用训练所用的 Python 执行 pip install，安装消息中提到的包"
        ),
        "the message ends with the worker's own exception": "消息末尾是该 worker 自己的异常",
        "workers=0 shows its whole way": "workers=0 会显示完整的调用过程",
        "fewer workers, no RAM cache, or a higher limit (--mem, resources.limits.memory)": (
            "减少 workers，不用 RAM 缓存，或提高限额（--mem、resources.limits.memory）"
        ),
        "the call that the evidence names": "看证据中提到的调用",
        "another version of that package": "换一个版本的该软件包",
        "a file that it cannot read": "检查它读不了的文件",
        "sacct -j JOB --format=JobID,State,ExitCode,Elapsed,Timelimit says which": (
            "sacct -j JOB --format=JobID,State,ExitCode,Elapsed,Timelimit 会显示是哪一种"
        ),
        "--signal=B:USR1@120 warns before": "--signal=B:USR1@120 会提前发出信号",
        "kubectl describe pod, kubectl get events: the reason": "kubectl describe pod、kubectl get events 会显示原因",
        "resume=True in the next one": "在下一个 pod 中用 resume=True",
        "the log of who manages the machine or the service": "查看管理该机器或服务的程序的日志",
        "journalctl -k names who was killed": "journalctl -k 会显示谁被终止",
        "fewer workers, no RAM cache": "减少 workers，不用 RAM 缓存",
        "restart the node, or unload and load the nvidia modules": "重启节点，或卸载并重新加载 nvidia 模块",
        "hold back the driver's package while trainings run": "训练期间不要升级驱动的软件包",
        "nvidia-smi -q -d COMPUTE shows the mode, nvidia-smi who holds the GPU": (
            "nvidia-smi -q -d COMPUTE 显示计算模式，nvidia-smi 显示谁占用 GPU"
        ),
        "end that process, or nvidia-smi -c 0": "结束该进程，或执行 nvidia-smi -c 0",
        "systemctl status nvidia-fabricmanager: it has to run, in the driver's version": (
            "systemctl status nvidia-fabricmanager：它必须在运行，版本与驱动相同"
        ),
        "nvidia-smi -q tells its state": "nvidia-smi -q 显示其状态（Fabric）",
        "last -x reboot and journalctl -b -1 -e say who or what restarted it": (
            "last -x reboot 和 journalctl -b -1 -e 会显示是谁或什么重启了它"
        ),
        "a longer --time, or --signal=B:USR1@120 with --requeue and a script that resumes": (
            "延长 --time，或用 --signal=B:USR1@120 加 --requeue 和会继续训练的脚本"
        ),
        "a script that resumes goes on when the job comes again": "作业再次启动时，会继续训练的脚本从断点继续",
        "a partition or QOS that is not preempted": "使用不会被抢占的分区或 QOS",
        "the end of the job's output says DUE TO PREEMPTION where it was that, as sacct does": (
            "如果是被抢占，作业输出末尾和 sacct 会显示 DUE TO PREEMPTION"
        ),
        "kubectl describe pod says Evicted and why": "kubectl describe pod 会显示 Evicted 及原因",
        "resources.requests.memory of what it really takes, fewer workers": (
            "把 resources.requests.memory 设为实际所需，减少 workers"
        ),
        "resources.requests.ephemeral-storage, results on a volume": (
            "设置 resources.requests.ephemeral-storage，把结果放到卷上"
        ),
        "start it in tmux or screen, or with nohup ... & or systemd-run --user": (
            "在 tmux 或 screen 中启动，或用 nohup ... &、systemd-run --user"
        ),
        "under Slurm with sbatch": "在 Slurm 中用 sbatch",
        # what simulated nodes say: remedies in general
        "`workers` up: preparation time over step time, and one to spare": (
            "增大 `workers`：准备时间除以步时间，再加一个"
        ),
        "not beyond the rank's share of CPUs, of the quota, and of memory for each worker": (
            "不超过该 rank 应得的 CPU、限额和每个 worker 的内存"
        ),
        "`detach()` what is kept, release it in `on_train_batch_end`": (
            "对要保留的张量调用 `detach()`，在 `on_train_batch_end` 中释放"
        ),
        "by the phase in which it is slow: its loader, its PCIe link, its GPU": (
            "看它慢在哪个阶段：loader、PCIe 链路或 GPU"
        ),
        "cooling": "检查散热",
        "a lower power limit meanwhile": "在此期间降低功率上限",
        "`resume=True`": "`resume=True`",
        "after an OOM kill fewer `workers` and no RAM cache": "被 OOM killer 终止后减少 `workers`，不用 RAM 缓存",
        "what the exception says": "按异常的提示处理",
        # why it stands still, failed or died
        "rank {}'s {} was stopped by a signal or a debugger, and the others wait for it": (
            "rank {} 的 {} 被信号或调试器暂停，其余的在等它"
        ),
        "rank {} has ended, and the others wait for it": "rank {} 已经结束，其余的在等它",
        "rank {}'s {} does not get on in the call that the evidence names": "rank {} 的 {} 停在依据中指出的调用里",
        "the rank waits for its batch": "该 rank 在等它的 batch",
        "whatever else there is waits for it": "其余的都在等它",
        "a loader worker died": "有数据加载 worker 异常退出",
        "the log ends with 'DataLoader worker exited unexpectedly'": (
            "日志末尾为 'DataLoader worker exited unexpectedly'"
        ),
        "a rank waits for another one, or for data": "某个 rank 在等另一个 rank，或在等数据",
        "see which rank's last batch is oldest": "查看哪个 rank 的最后一个 batch 最早",
        "the loader, the storage or a callback hangs": "loader、存储或某个回调卡住",
        "loader workers died (worker_died), and PyTorch raises for it": (
            "数据加载 worker 异常退出（worker_died），PyTorch 因此抛出异常"
        ),
        "an exception left the trainer": "训练器因异常结束",
        "an exception left the trainer in the set-up's stage {}": "训练器在准备阶段 {} 因异常结束",
        "unknown: it was killed from outside, mostly by SIGKILL, which leaves nothing behind": (
            "unknown：被外部终止，多半是 SIGKILL，它什么也不会留下"
        ),
        "main memory is used up: the kernel's OOM killer ended them": "主内存用完：被内核的 OOM killer 终止",
        "a bus error: {}, through which workers hand batches over, is too small": (
            "总线错误：worker 用来传递 batch 的 {} 太小"
        ),
        "somebody killed them": "它们被外部终止",
        "without a count of OOM kills it is not known who (journalctl -k names the kernel)": (
            "没有 OOM kill 计数，无法判断是谁（若是内核，journalctl -k 会写明）"
        ),
        "not known: the log's traceback of the worker says more": "未知：日志中 worker 的堆栈有更多信息",
    }
)
#: Cause of a death (`diagnosis.causes`) -> its title; docs/diagnose.zh-CN.md says the same.
TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cuda_out_of_memory": "显存用完",
        "cuda_device_assert": "kernel 中的检查失败，多半是索引越界：标签里有模型没有的类别",
        "cuda_illegal_access": "kernel 读写了不属于它的显存：扩展、驱动或硬件的问题",
        "gpu_busy": "GPU 不再接受新的进程：处于独占模式，或被另一个进程占用",
        "gpu_lost": "GPU 不再响应，或其显存损坏",
        "driver_mismatch": "系统运行中更换了驱动：驱动库与内核模块版本不同",
        "fabric_manager": "NVSwitch 系统的 fabric manager 没有运行，或尚未就绪",
        "cuda_no_kernel_image": "这个 torch 没有为该 GPU 编译的代码",
        "cuda_driver": "没有驱动，或驱动对这个 torch 来说太旧",
        "collective_timeout": "集合通信超时：另一个 rank 卡住、太慢或已退出",
        "peer_lost": "与另一个 rank 的连接断开：是那个 rank 先结束的",
        "worker_out_of_memory": "数据加载 worker 被终止：主内存用完",
        "shared_memory_full": "worker 用来传递 batch 的共享内存太小",
        "worker_killed": "数据加载 worker 被信号终止",
        "disk_full": "磁盘已满，或配额用完",
        "labels": "标签与模型或数据集文件不符",
        "data_missing": "图片、标签、权重或其他文件不在所指的位置",
        "data_unreadable": "数据集中的文件损坏，或没有读取权限",
        "host_out_of_memory": "主内存用完",
        "too_many_files": "进程打开的文件数达到上限",
        "not_a_number": "loss 变成 NaN 或无穷大，且没有恢复",
        "interrupted": "有人按了 Ctrl-C，或发送了 SIGINT",
        "missing_package": "缺少 Python 包，或版本互不兼容",
        "worker_exception": "数据加载 worker 中出现异常：读取或增强图片时",
        "cuda_error": "CUDA 报告了错误",
        "out_of_memory_kill": "内核的 OOM killer：cgroup 的内存用完",
        "collective_abort": "在等待其他 rank 时自行终止：集合通信超时后 NCCL 的 watchdog 会这样做",
        "native_crash": "原生代码崩溃：torch、扩展或读取图片的库",
        "launcher": "另一个 rank 失败或被终止后，被 torchrun 终止",
        "node_rebooted": "任务还没有结束，节点就重启了",
        "slurm_time_limit": "Slurm 作业的时间已到",
        "slurm_requeued": "Slurm 作业被其他作业抢占或被手动 requeue，之后又重新运行",
        "slurm_cancelled": "Slurm 作业在时间到达之前被终止：scancel，或直接取消的抢占",
        "scheduler": "被 Slurm 终止（scancel、抢占或到达时间上限），或作业内部的 kill",
        "eviction_memory": "Pod 很可能被 Kubernetes 驱逐：节点几乎没有内存了",
        "eviction_disk": "Pod 很可能被 Kubernetes 驱逐：节点的磁盘几乎满了",
        "eviction": "Pod 被 Kubernetes 终止：删除、驱逐或节点排空",
        "terminated": "有人发送了 SIGTERM：kill、服务管理器、关机",
        "hangup": "终端或 ssh 会话被关闭",
        "node_out_of_memory_kill": "可能是内核的 OOM killer：节点的 OOM kill 计数增加，而该任务的 cgroup 没有",
    }
)
#: `workers=12 cache=ram`, which is typed in any language.
_ARGUMENTS: Final = re.compile(r"\w+=\S*(?: \w+=\S*)*")


def in_chinese(fix: str) -> str:
    """A fix of the diagnosis in Chinese."""
    return "；".join(_clause(clause) for clause in fix.split(BETWEEN)) if fix else ""


def cause_in_chinese(cause: str) -> str:
    """A verdict's cause in Chinese, after its name where that is one of a death."""
    name = cause.partition(": ")[0]
    return f"{name}：{TITLES[name]}" if name in TITLES else in_chinese(cause)


def is_known(clause: str) -> bool:
    """Whether a clause needs no translation or has one."""
    return bool(_ARGUMENTS.fullmatch(clause)) or _found(clause) is not None


def _clause(text: str) -> str:
    found = _found(text)
    if found is None:
        return text
    chinese, values = found
    return chinese.format(*(_clause(value) for value in values))


def _found(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The Chinese template with its values, of the pattern that says the most."""
    for pattern, chinese in _patterns():
        if match := pattern.fullmatch(text):
            return chinese, match.groups()
    return None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    longest = sorted(CLAUSES.items(), key=lambda one: -len(one[0]))
    return tuple((_pattern(english), chinese) for english, chinese in longest)


def _pattern(english: str) -> re.Pattern[str]:
    return re.compile("(.+?)".join(re.escape(part) for part in english.split("{}")), re.DOTALL)
