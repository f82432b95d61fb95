"""How steps are executed: as a TensorFlow graph, or compiled by XLA as a whole or in part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice

EXECUTIONS = ("auto", "graph", "xla", "xla_update")
"""Chosen by measurement; a graph; compiled; a graph whose optimizer update is compiled."""

_DENSE_LAYERS = frozenset(
    [
        "Activation",
        "Add",
        "BatchNormalization",
        "Concatenate",
        "Dense",
        "Flatten",
        "Identity",
        "InputLayer",
        "LayerNormalization",
        "Normalization",
        "PReLU",
        "ReLU",
        "Rescaling",
        "Reshape",
        "Softmax",
    ]
)


def default_execution(execution: str, model: Any, precision: str | None = None) -> str:
    """Return the execution to begin with: for "auto" XLA if a Keras model has only dense layers.

    On a CPU, XLA makes steps of dense nets two to ten times faster, and convolutions and dropout
    several times slower; it does not support every operation that a model may use. There products
    of bfloat16 are faster in a graph, and convolutions of float16 are hundreds of times slower
    without XLA.

    Args:
        execution: "auto", "graph", "xla" or "xla_update".
        model: the Keras model; None for no information.
        precision: name of the precision policy, or None.

    Raises:
        ValueError: the execution is unknown, or unusably slow for mixed_float16.
    """
    check_choice("execution", execution, EXECUTIONS)
    layers = getattr(model, "layers", None) or [None]
    on_cpu = not tf.config.list_physical_devices("GPU")
    dense = all(type(layer).__name__ in _DENSE_LAYERS for layer in layers)
    if precision == "mixed_float16" and on_cpu and not dense:
        if execution not in ("auto", "xla"):
            raise ValueError(
                f"execution {execution!r} makes convolutions of mixed_float16 hundreds of times "
                "slower on a CPU: use execution 'xla', or the precision mixed_bfloat16"
            )
        return "xla"
    if execution != "auto":
        return execution
    return "xla" if dense and not (precision == "mixed_bfloat16" and on_cpu) else "graph"


def slow_precision_reason(
    precision: str | None, cpuinfo: Path = Path("/proc/cpuinfo")
) -> str | None:
    """Return why a mixed precision is probably no faster than float32 here; None if it may be.

    Args:
        precision: name of the precision policy, or None.
        cpuinfo: file in which Linux lists the CPU's features.
    """
    mixed = precision in ("mixed_bfloat16", "mixed_float16")
    if not mixed or tf.config.list_physical_devices("GPU"):
        return None
    if precision == "mixed_float16":
        return "CPUs compute float16 as float32: mixed_float16 is for GPUs"
    try:
        has_amx = "amx_bf16" in cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return None
    return None if has_amx else "without AMX a CPU is no faster with bfloat16 than with float32"
