"""Ultralytics trainers that do on a CPU what they else do on GPUs only: loader workers and two DDP ranks over gloo.

Imports ultralytics (AGPL-3.0): for tests only. Ranks unpickle the classes by reference, so this is a module of its own;
its options (training.Options) travel in the environment variable CPU_TRAINER.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN202, ANN204, D101

import contextlib
import datetime as dt
import json
import os
import subprocess
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.utils.data
import ultralytics
import ultralytics.engine.trainer as engine
from ultralytics.engine import validator
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

OPTIONS = json.loads(os.environ["CPU_TRAINER"])
PROBED = json.loads(os.environ.get("YOLOSCOPE_ARGUMENTS", "{}"))  # by `yoloscope tune`
RANKS = OPTIONS["ranks"]
RANK = int(os.environ.get("RANK", "0"))
IS_RANK = "LOCAL_RANK" in os.environ

if not hasattr(np, "trapz"):  # removed in NumPy 2.4, and Ultralytics 8.3.9 integrates with it
    np.trapz = np.trapezoid  # noqa: NPY201 - that is what it is about

if RANKS > 1:
    _Ddp = torch.nn.parallel.DistributedDataParallel

    class _CpuDdp(_Ddp):  # a CPU has no device_ids
        def __init__(self, module, device_ids=None, **_):
            super().__init__(module, find_unused_parameters=True)

    class _CpuBackend(validator.AutoBackend):  # the final validation of a rank asks for a GPU by number
        def __init__(self, *args, device=None, **kwargs):
            super().__init__(*args, device=torch.device("cpu"), **kwargs)

    torch.nn.parallel.DistributedDataParallel = _CpuDdp
    validator.AutoBackend = _CpuBackend
    torch.cuda.current_device = lambda: 0

if OPTIONS["start_method"]:
    torch.multiprocessing.set_start_method(OPTIONS["start_method"], force=True)


class _SlowTransform:
    """An image transform that costs time in the loader worker."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, labels):
        worker = torch.utils.data.get_worker_info()
        if OPTIONS["slow_worker"] in (-1, worker.id if worker else 0):
            time.sleep(OPTIONS["image_sleep"])
            end = time.thread_time() + OPTIONS["image_work"]
            while time.thread_time() < end:
                pass
        return self.inner(labels)


def _slow_down(dataset):
    name = "transforms" if hasattr(dataset, "transforms") else "torch_transforms"
    setattr(dataset, name, _SlowTransform(getattr(dataset, name)))


def _sleep_in_forward(module, _arguments):
    if module.training and OPTIONS["slow_rank"] in (-1, RANK):
        time.sleep(OPTIONS["step_sleep"])


class _Cpu:
    """What all trainers below share."""

    # Ultralytics sets both in __init__, from the number of GPUs; here they come from the options.
    world_size = property(lambda _self: RANKS if RANKS > 1 else 0, lambda _self, _value: None)
    ddp = property(lambda _self: RANKS > 1 and not IS_RANK, lambda _self, _value: None)

    def build_dataset(self, img_path, mode="train", batch=None):
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and (OPTIONS["image_sleep"] or OPTIONS["image_work"]):
            _slow_down(dataset)
        return dataset

    def get_dataloader(self, *args, **kwargs):
        self.args.workers = PROBED.get("workers", OPTIONS["workers"])  # Ultralytics has set 0
        return super().get_dataloader(*args, **kwargs)

    def _close_dataloader_mosaic(self):
        super()._close_dataloader_mosaic()
        if OPTIONS["image_sleep"] or OPTIONS["image_work"]:
            _slow_down(self.train_loader.dataset)  # its transforms are new

    def get_model(self, *args, **kwargs):
        model = super().get_model(*args, **kwargs)
        if OPTIONS["step_sleep"]:
            model.register_forward_pre_hook(_sleep_in_forward)
        return model

    def train(self):
        if not self.ddp or not ultralytics.__version__.startswith("8.3."):
            return self._do_train(RANKS) if IS_RANK and ultralytics.__version__.startswith("8.3.") else super().train()
        command, _ = engine.generate_ddp_command(RANKS, self)
        return subprocess.run(command, check=True)

    def _setup_ddp(self, *_):
        self.device = torch.device("cpu")
        timeout = dt.timedelta(seconds=60)
        dist.init_process_group("gloo", rank=RANK, world_size=RANKS, timeout=timeout)


class CpuDetectionTrainer(_Cpu, DetectionTrainer):
    pass


class CpuSegmentationTrainer(_Cpu, SegmentationTrainer):
    pass


class CpuClassificationTrainer(_Cpu, ClassificationTrainer):
    pass


class CpuPoseTrainer(_Cpu, PoseTrainer):
    pass


class CpuObbTrainer(_Cpu, OBBTrainer):
    pass


TRAINERS = {
    "detect": CpuDetectionTrainer,
    "segment": CpuSegmentationTrainer,
    "classify": CpuClassificationTrainer,
    "pose": CpuPoseTrainer,
    "obb": CpuObbTrainer,
}

with contextlib.suppress(ImportError):  # tasks of later releases
    from ultralytics.models.yolo.depth import DepthTrainer
    from ultralytics.models.yolo.semantic import SemanticSegmentationTrainer

    class CpuSemanticTrainer(_Cpu, SemanticSegmentationTrainer):
        pass

    class CpuDepthTrainer(_Cpu, DepthTrainer):
        pass

    TRAINERS.update(semantic=CpuSemanticTrainer, depth=CpuDepthTrainer)

exec(OPTIONS["everywhere"])
