"""Operations of an image, by the layers' shapes, against torch's own counter; and what counting leaves alone."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import flops
from yoloscope_record import catalog
from yoloscope_record.reader import Reader

from tests import training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: All tasks, and what differs in other generations: area attention, heads of their own for end-to-end training.
MODELS = [
    *training.MODELS.values(),
    *training.LATER.values(),
    *("yolo12n.yaml", "yolov8n.yaml", "yolo26n.yaml"),
]


@pytest.fixture
def torch() -> Iterator[ModuleType]:
    """Torch with one thread: several would wait for each other where tests share the machine."""
    module = pytest.importorskip("torch", reason="needs the extra train: pip install 'yoloscope[train]'")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


def trainer(model: Any, imgsz: int = 16, **arguments: Any) -> SimpleNamespace:
    return SimpleNamespace(model=model, args=SimpleNamespace(imgsz=imgsz, **arguments), data={"channels": 3})


def tensors(output: Any) -> list[Any]:
    """All of them, however they are packed."""
    if isinstance(output, dict):
        return tensors(list(output.values()))
    if isinstance(output, (list, tuple)):
        return [one for part in output for one in tensors(part)]
    return [output] if getattr(output, "requires_grad", False) else []


def counted_by_torch(model: Any, images: Any, *, backward: bool = True) -> float:
    """Of an image, of what is really calculated.

    Torch takes the gradient of a grouped convolution's weights for that of a whole one ("some details involving groups,
    but I skip those", says conv_backward_flop): that part is divided by the groups.
    """
    import torch  # noqa: PLC0415 - after the fixture
    from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop  # noqa: PLC0415 - likewise

    def with_groups(*given: Any, out_shape: Any = None, **_: Any) -> int:
        *before, groups, (of_input, of_weight, _bias) = given
        parts = ([of_input, False, False], [False, of_weight, False])
        first, second = (conv_backward_flop(*before, groups, part, out_val=out_shape) for part in parts)
        return int(first + second / groups)

    mapping = {torch.ops.aten.convolution_backward: with_groups}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        output = model(images)
        if backward:
            sum(one.float().sum() for one in tensors(output)).backward()
    return float(counter.get_total_flops()) / len(images)


@pytest.mark.train
@pytest.mark.parametrize("name", MODELS)
def test_as_many_as_torch_counts(torch: ModuleType, name: str) -> None:
    """Within 0.1 %, at three sizes."""
    ultralytics = pytest.importorskip("ultralytics", reason="needs the extra train: pip install 'yoloscope[train]'")
    model = ultralytics.YOLO(name).model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for size in (32, 64, 96):
        images = torch.zeros(2, 3, size, size)
        ours = flops.per_image(trainer(model, size))
        assert ours == pytest.approx(counted_by_torch(model, images), rel=1e-3)
        with torch.no_grad():  # as torch counts by itself
            forward = counted_by_torch(model, images, backward=False)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        assert flops.per_image(trainer(model, size)) == pytest.approx(forward, rel=1e-3)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        assert forward > 1e6


def network(torch: ModuleType) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.SiLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.Dropout(0.5),
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2),
        nn.Flatten(),
        nn.Linear(4 * 28 * 28, 10),
    )


def test_of_a_network_of_every_kind_of_layer(torch: ModuleType) -> None:
    """To the last operation."""
    model = network(torch)
    assert flops.per_image(trainer(model)) == counted_by_torch(model, torch.zeros(2, 3, 16, 16))


def test_what_is_frozen_has_no_gradients(torch: ModuleType) -> None:
    """Of its weights; nor of its input, if nothing before it learns."""
    model = network(torch)
    whole = flops.per_image(trainer(model))
    for layer in (model[0], model[1]):
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
    ours = flops.per_image(trainer(model))
    assert ours == counted_by_torch(model, torch.zeros(2, 3, 16, 16))
    assert whole is not None
    assert ours == whole - 2 * 8 * 16 * 16 * 3 * 9 - 2 * 8 * 14 * 14 * 2 * 9


def state(torch: ModuleType, model: Any) -> list[Any]:
    """What counting might change of a model, and of the process."""
    inside = [
        (
            module.training,
            dict(module._forward_hooks),
            dict(module._forward_pre_hooks),
            dict(module._backward_hooks),
            sorted(vars(module)),
        )
        for module in model.modules()
    ]
    values = {name: value.tolist() for name, value in model.state_dict().items()}
    grown = [(parameter.grad, parameter.requires_grad, parameter.data_ptr()) for parameter in model.parameters()]
    return [inside, values, grown, torch.get_rng_state().tolist(), random.getstate(), torch.is_grad_enabled()]


@pytest.mark.parametrize("training_mode", [True, False])
def test_the_model_is_left_alone(torch: ModuleType, training_mode: bool) -> None:  # noqa: FBT001
    """Modes, hooks, weights, statistics, gradients and random numbers are as they were; its hooks are not called."""
    model = network(torch).train(training_mode)
    called: list[object] = []
    model[0].register_forward_hook(lambda *_: called.append(1))
    before = state(torch, model)
    with torch.no_grad():
        assert flops.per_image(trainer(model))
    assert state(torch, model) == before
    assert not called


def test_a_model_that_fails_is_left_alone_as_well(torch: ModuleType) -> None:
    """Nothing is raised into the training."""
    model = network(torch)
    before = state(torch, model)
    assert flops.per_image(trainer(model, 20)) is None
    assert state(torch, model) == before


def test_what_a_model_is_wrapped_in_does_not_matter(torch: ModuleType) -> None:
    """DataParallel here, as DDP and compiled models keep theirs: under a name of their own."""
    model = network(torch)
    assert flops.per_image(trainer(torch.nn.DataParallel(model))) == flops.per_image(trainer(model))


@pytest.mark.parametrize("argument", ["multi_scale", "rect"])
def test_sizes_that_change_are_absent(torch: ModuleType, argument: str) -> None:
    """There is no one number of operations."""
    assert flops.per_image(trainer(network(torch), **{argument: True})) is None


def test_layers_of_an_unknown_kind_are_absent(torch: ModuleType) -> None:
    """Rather than too few operations."""
    model = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.MultiheadAttention(256, 2))
    assert flops.per_image(trainer(model)) is None


def test_a_forward_of_the_instances_own_is_absent(torch: ModuleType) -> None:
    """It is bound to the real model, which must not run."""
    model: Any = network(torch)
    ran: list[object] = []
    model.forward = ran.append
    assert flops.per_image(trainer(model)) is None
    assert not ran


def test_a_trainer_of_another_shape_has_none(torch: ModuleType) -> None:
    """Without a model, with one that is none of torch's, without a size."""
    assert flops.per_image(SimpleNamespace()) is None
    assert flops.per_image(trainer("model")) is None
    assert flops.per_image(SimpleNamespace(model=network(torch), args=SimpleNamespace(imgsz=[640, 480]))) is None


@pytest.mark.train
@pytest.mark.slow
def test_a_training_counts_them(torch: ModuleType, tmp_path: Path) -> None:
    """As many for each image as torch counts for a forward and a backward pass; none where sizes change."""
    tasks = pytest.importorskip("ultralytics.nn.tasks", reason="needs the extra train: pip install 'yoloscope[train]'")
    data = training.make_dataset(tmp_path / "data", images=8, size=32)
    training.train(data, tmp_path / "runs", name="counted")
    training.train(data, tmp_path / "runs", name="changing", arguments={"multi_scale": 0.5})
    told = {path.parent.name: values(path) for path in Path(os.environ["YOLOSCOPE_DIR"]).rglob("rank-0.rec")}
    counted, changing = (next(told[run] for run in told if name in run) for name in ("counted", "changing"))
    theirs = counted_by_torch(tasks.DetectionModel("yolo11n.yaml", nc=2, verbose=False), torch.zeros(2, 3, 32, 32))
    images = counted[catalog.TRAIN_IMAGES_TOTAL.name]
    assert images == changing[catalog.TRAIN_IMAGES_TOTAL.name] == 8
    assert counted[catalog.TRAIN_FLOPS_TOTAL.name] == pytest.approx(images * theirs, rel=1e-3)
    assert catalog.TRAIN_FLOPS_TOTAL.name not in changing
    assert counted[catalog.TRAIN_HOOK_ERRORS_TOTAL.name] == 0


def values(path: Path) -> dict[str, float]:
    """Numbers of a record by the names of their metrics; absent ones are left out."""
    found = ((metric.name, value) for metric, _, value in Reader(path).read().samples)
    return {name: value for name, value in found if isinstance(value, float) and not math.isnan(value)}
