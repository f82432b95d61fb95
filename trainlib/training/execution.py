"""How steps are executed: as a TensorFlow graph, or compiled by XLA as a whole or in part."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras

from trainlib.core.checks import check_choice
from trainlib.training.gpus import visible_gpus
from trainlib.training.keras_private import all_layers
from trainlib.training.layer_kinds import ELEMENTWISE

EXECUTIONS = ("auto", "graph", "xla", "xla_update")
"""Names of executions: chosen automatically; a graph; compiled by XLA; a graph whose optimizer
update is compiled."""

_DENSE_LAYERS = frozenset(
    [
        *ELEMENTWISE,
        "Add",
        "BatchNormalization",
        "Concatenate",
        "Dense",
        "Embedding",
        "Flatten",
        "GlobalAveragePooling1D",
        "GroupNormalization",
        "InputLayer",
        "LayerNormalization",
        "MaskedMean",
        "Masking",
        "PReLU",
        "RMSNormalization",
        "Reshape",
        "UnitNormalization",
    ]
)
_RECURRENT_LAYERS = frozenset(["GRU", "LSTM", "SimpleRNN"])
LARGE_EMBEDDING = 1_000_000
"""Number of values of an embedding from which its update takes most of a step."""
STEPS_TO_COMPILE = {"embedding": 20, "recurrent": 100, "dense": 1000}
"""Number of steps from which a run under XLA takes less time than in a graph, compilation included.

Rounded from what `benchmarks/short_runs.py` shows on a CPU: XLA compiles a second longer and takes
41 of 63 ms off a step of a large embedding, and 8 to 15 of 20 ms off one of a recurrent network. It
compiles dense networks 0.4 s longer, and takes 0.2 to 1 ms off.
"""
WIDE_KERNEL = 2**13
"""Number of values of a dense kernel from which a CPU evaluates batches faster in a graph."""


def default_execution(execution: str, model: Any, precision: str | None = None) -> str:
    """Return the execution of a long run: for "auto" XLA where it makes a Keras model faster.

    On a CPU, XLA makes steps of dense, recurrent and embedding layers two to ten times faster, and
    convolutions and dropout several times slower; it does not support every operation that a model
    may use. There products of bfloat16 are faster in a graph, and convolutions of float16, which
    Keras models show by their layers, are hundreds of times slower without XLA. GPUs have fast
    kernels for recurrent layers in a graph.

    Args:
        execution: "auto", "graph", "xla" or "xla_update".
        model: the Keras model; None for other models.
        precision: name of the precision policy; None for that of the model. Default: None.

    Raises:
        ValueError: the execution is unknown, or unusably slow for mixed_float16; or XLA would
            compile depthwise convolutions for a CPU.
    """
    check_choice("execution", execution, EXECUTIONS)
    on_cpu = not visible_gpus()
    kind = _kind(model)
    if needs_xla(model, precision):
        if execution not in ("auto", "xla"):
            raise ValueError(
                f"execution {execution!r} makes convolutions of mixed_float16 hundreds of times "
                "slower on a CPU: use execution 'xla', or the precision mixed_bfloat16"
            )
        execution = "xla"
    check_xla_is_safe(execution, model)
    if execution != "auto":
        return execution
    faster = kind is not None and not (kind == "recurrent" and not on_cpu)
    return "xla" if faster and not (precision == "mixed_bfloat16" and on_cpu) else "graph"


def needs_xla(model: Any, precision: str | None) -> bool:
    """Return whether a CPU computes convolutions of a Keras model in float16.

    Args:
        model: the model.
        precision: name of the precision policy, or None.

    Returns:
        Whether the steps must be compiled by XLA; False for other models than Keras's.
    """
    if precision != "mixed_float16" or visible_gpus() or not isinstance(model, keras.Model):
        return False
    kinds = tuple(kind for name, kind in vars(keras.layers).items() if "Conv" in name)
    return any(isinstance(layer, kinds) for layer in all_layers(model))


def check_xla_is_safe(execution: str, model: Any) -> None:
    """Raise if XLA would compile the gradient of a depthwise convolution for a CPU.

    The code that XLA generates there for the gradient with respect to a padded input also reads
    before the start of that memory. Nothing uses the values, but where the memory is not mapped,
    the process ends without a message.

    Args:
        execution: "auto", "graph", "xla" or "xla_update".
        model: the Keras model; others are not checked.

    Raises:
        ValueError: names the layer.
    """
    if execution != "xla" or visible_gpus() or not isinstance(model, keras.Model):
        return
    layers = keras.layers
    unsafe = (
        layers.DepthwiseConv1D,
        layers.DepthwiseConv2D,
        layers.SeparableConv1D,
        layers.SeparableConv2D,
    )
    for layer in all_layers(model):
        if isinstance(layer, unsafe):
            raise ValueError(
                f"execution 'xla' can end the process on a CPU, in the gradient of the depthwise "
                f"convolution {layer.name!r}: use execution 'graph', and mixed_bfloat16 in place "
                "of mixed_float16"
            )


def steps_to_compile(model: Any) -> int:
    """Return the fewest steps of a run for which "auto" compiles a Keras model by XLA.

    Args:
        model: one for which `default_execution` is "xla".
    """
    return STEPS_TO_COMPILE.get(_kind(model) or "", 0)


def evaluates_in_graph(model: Any) -> bool:
    """Return whether a Keras model is evaluated in a graph where XLA compiles its training steps.

    On a CPU, XLA computes the products of a batch of 512 with kernels of 100 x 100 values and more
    in 1.0 to 1.8 times the time of a graph, on one core for some sizes. Those of smaller kernels
    take less time under XLA, and so do recurrent layers and embeddings.

    Args:
        model: the Keras model; None for no information.
    """
    if visible_gpus() or _kind(model) != "dense":
        return False
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return any(layer.built and _size(layer.kernel) >= WIDE_KERNEL for layer in dense)


def _size(w: Any) -> int:
    """Return the number of values of a parameter."""
    return math.prod(w.shape)


def _kind(model: Any) -> str | None:
    """Return the layers that take most of a model's time, a key of STEPS_TO_COMPILE.

    None stands for a model with other layers than these kinds have.
    """
    layers = list(getattr(model, "layers", None) or [])
    recurrent = [layer for layer in layers if _is_recurrent(layer)]
    others = [layer for layer in layers if layer not in recurrent]
    if not layers or any(type(layer).__name__ not in _DENSE_LAYERS for layer in others):
        return None
    if any(_values(x) >= LARGE_EMBEDDING for x in others):
        return "embedding"
    return "recurrent" if recurrent else "dense"


def _is_recurrent(layer: Any) -> bool:
    """Return whether a layer is a recurrent one that XLA compiles to the same numbers, in a loop.

    It may draw random numbers differently, and takes long to compile each step by itself.
    """
    if type(layer).__name__ == "Bidirectional":
        return _is_recurrent(layer.forward_layer) and _is_recurrent(layer.backward_layer)
    if type(layer).__name__ not in _RECURRENT_LAYERS or layer.stateful or layer.unroll:
        return False
    return not (layer.dropout or layer.recurrent_dropout)


def _values(layer: Any) -> int:
    """Return the number of values of an embedding; 0 for other layers."""
    is_embedding = isinstance(layer, keras.layers.Embedding)
    return layer.input_dim * layer.output_dim if is_embedding else 0


def slow_precision_reason(
    precision: str | None, cpuinfo: Path = Path("/proc/cpuinfo")
) -> str | None:
    """Return why a mixed precision is probably no faster than float32 here; None if it may be.

    Args:
        precision: name of the precision policy, or None.
        cpuinfo: file in which Linux lists the CPU's features.
    """
    mixed = precision in ("mixed_bfloat16", "mixed_float16")
    if not mixed or visible_gpus():
        return None
    if precision == "mixed_float16":
        return "CPUs compute float16 as float32: mixed_float16 is for GPUs"
    try:
        has_amx = "amx_bf16" in cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return None
    return None if has_amx else "without AMX a CPU is no faster with bfloat16 than with float32"
