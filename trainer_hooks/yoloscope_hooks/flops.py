"""Floating-point operations that an image of the training takes, by the shapes that the model's layers see.

They are counted once, in the set-up, on a sketch of the model: the same modules with tensors of the device `meta`,
which have a shape and no values. So nothing is computed, copied or waited for, and the model itself is left alone: its
modes, its hooks, its buffers, its gradients. What torch imports for `meta` it has imported for the optimizer before.

A multiplication and an addition are one operation each. Backward, a layer does as much again for the gradient of its
weights, and once more for that of its input, as far as either is wanted: the first layer has no gradient of its input,
frozen ones have none of their weights.

Unknown is what cannot be known so: a model with layers whose operations are not in a module of a known kind, one that
needs values to go on (RT-DETR), and images of changing sizes (multi_scale, rect).
"""

# ruff: noqa: ARG001 - all ways to count take the same three arguments

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from yoloscope_record import log

from yoloscope_hooks import users_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Trainer = Any  # duck-typed
    Module = Any
    Tensor = Any
    #: Operations of a layer's forward pass from the shapes of its input and output.
    Count = Callable[[Module, Sequence[int], Sequence[int]], float]

#: Modules that multiply matrices outside of a layer of torch's, and of which that is not counted here.
UNKNOWN = frozenset(
    {
        "MultiheadAttention",
        "MSDeformAttn",
        "MaxSigmoidAttnBlock",
        "ImagePoolingAttn",
        "ContrastiveHead",
        "BNContrastiveHead",
        "LRPCHead",
        "SAVPE",
    }
)
#: Arguments with which the sizes of images change from batch to batch.
CHANGING = ("multi_scale", "rect")
#: What DDP, DataParallel and torch.compile keep the model in.
WRAPPED = ("module", "_orig_mod")
#: Where a module keeps the functions that are called around its own.
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Of the sketch's batch: norms need more than one value for each channel, and a map may have one place only.
IMAGES = 2


def per_image(trainer: Trainer) -> float | None:
    """Operations of an image of this training, forward and backward; None where they cannot be known."""
    torch, arguments = sys.modules.get("torch"), getattr(trainer, "args", None)
    model, size = _inner(getattr(trainer, "model", None)), getattr(arguments, "imgsz", None)
    if torch is None or not isinstance(model, torch.nn.Module) or not isinstance(size, int):
        return None
    if any(getattr(arguments, name, False) for name in CHANGING):
        return None
    modules = list(model.modules())
    if any(type(module).__name__ in UNKNOWN or "forward" in vars(module) for module in modules):
        return None  # a forward of the instance's own may be bound to the real model
    data = getattr(trainer, "data", None)
    channels = data.get("channels", 3) if isinstance(data, dict) else 3
    try:
        return _count(torch, model, (IMAGES, channels, size, size)) / IMAGES
    except Exception as error:  # a model of another kind, or a torch that knows no `meta`
        if users_signals.raised(error):
            raise
        log.debug("yoloscope: what an image takes is not known: %s", error)
        return None


def _inner(model: Any) -> Any:
    """The model itself, out of what it is wrapped in for several GPUs or by torch.compile."""
    for name in (*WRAPPED, *WRAPPED):
        model = getattr(model, "_modules", {}).get(name, model)
    return model


def _count(torch: Any, model: Module, shape: tuple[int, ...]) -> float:
    """Operations of a batch of that shape."""
    sketch = _sketch(torch, model, {})
    counted = [0.0]
    for module in sketch.modules():
        count = _count_of(torch, module)
        if count is not None:
            module.register_forward_hook(partial(_add, counted, count))
    random = torch.get_rng_state()  # the CPU's; a CUDA device's is not touched, and asking for it would wait
    try:
        with torch.enable_grad():
            sketch.train()(torch.empty(shape, device="meta"))
    finally:
        torch.set_rng_state(random)
    return counted[0]


def _sketch(torch: Any, module: Module, known: dict[int, Any]) -> Module:
    """A module of the same kind with the same attributes: modules in it are sketches, and tensors have no values."""
    if id(module) in known:
        return known[id(module)]
    sketch = known[id(module)] = module.__class__.__new__(module.__class__)
    attributes = {name: _without_values(torch, value, known) for name, value in vars(module).items()}
    for name in ("_parameters", "_buffers"):
        attributes[name] = type(attributes[name])(
            (key, _without_values(torch, value, known)) for key, value in attributes[name].items()
        )
    attributes["_modules"] = type(attributes["_modules"])(
        (key, value if value is None else _sketch(torch, value, known)) for key, value in attributes["_modules"].items()
    )
    attributes.update((name, type(attributes[name])()) for name in HOOKS if name in attributes)
    attributes["_compiled_call_impl"] = None
    vars(sketch).update(attributes)
    return sketch


def _without_values(torch: Any, value: Any, known: dict[int, Any]) -> Any:
    """A tensor of the same shape and kind; whatever is no tensor as it is. One that is shared stays shared."""
    if not isinstance(value, torch.Tensor):
        return value
    if id(value) not in known:
        empty = torch.empty(value.shape, dtype=value.dtype, device="meta")
        is_parameter = isinstance(value, torch.nn.Parameter)
        known[id(value)] = torch.nn.Parameter(empty, value.requires_grad) if is_parameter else empty
    return known[id(value)]


def _add(counted: list[float], count: Count, module: Module, inputs: Any, output: Tensor) -> None:
    given = inputs[0]
    weight = getattr(module, "weight", None)
    gradients = bool(given.requires_grad) + bool((given if weight is None else weight).requires_grad)
    counted[0] += count(module, given.shape, output.shape) * (1 + gradients)


def _count_of(torch: Any, module: Module) -> Count | None:
    """How its own operations are counted, those of modules within it left out; None of what has none of its own."""
    nn = torch.nn
    if isinstance(module, nn.modules.conv._ConvTransposeNd):  # noqa: SLF001 - what the three kinds have in common
        return _transposed
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 - likewise
        return _convolution
    if isinstance(module, nn.Linear):
        return _linear
    return {"Attention": _attention, "AAttn": _area_attention}.get(type(module).__name__)


def _convolution(module: Module, given: Sequence[int], output: Sequence[int]) -> float:
    return float(2.0 * _product(output) * given[1] / module.groups * _product(module.kernel_size))


def _transposed(module: Module, given: Sequence[int], output: Sequence[int]) -> float:
    return float(2.0 * _product(given) * output[1] / module.groups * _product(module.kernel_size))


def _linear(module: Module, given: Sequence[int], output: Sequence[int]) -> float:
    return 2.0 * _product(output) * given[-1]


def _attention(module: Module, given: Sequence[int], output: Sequence[int]) -> float:
    """Queries by keys, and what they attend to by values; `given` is of images."""
    places = given[2] * given[3]
    return float(2.0 * given[0] * module.num_heads * places**2 * (module.key_dim + module.head_dim))


def _area_attention(module: Module, given: Sequence[int], output: Sequence[int]) -> float:
    """The same within each area."""
    places = given[2] * given[3]
    return float(2.0 * given[0] * module.num_heads * places**2 / module.area * 2 * module.head_dim)


def _product(lengths: Sequence[int]) -> float:
    return float(math.prod(lengths))
