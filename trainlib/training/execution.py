"""How the steps are executed: as a TensorFlow graph, or compiled by XLA whole or in part."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.training.files import write_text

EXECUTIONS = ("auto", "graph", "xla", "xla_update")
"""auto, a graph, compiled whole, and a graph of which the optimizer's update is compiled."""

MEASURED_FROM = 1000
"""Steps of a run from which on it may be worth while to measure."""
WORTH_SECONDS = 10.0
"""How long a run must be expected to take for other ways to be compiled and timed."""
CLEARLY = 1.05
"""How many times as fast as the rule's choice another way must be."""
TIMED_SECONDS = 0.1
CACHE_VARIABLE = "TRAINLIB_CACHE"

_DENSE_LAYERS = frozenset(
    [
        "Activation",
        "BatchNormalization",
        "Dense",
        "Flatten",
        "InputLayer",
        "LayerNormalization",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
        "Softmax",
    ]
)


def default_execution(execution: str, model: Any, precision: str | None = None) -> str:
    """The execution asked for; of "auto" XLA for Keras models made of dense layers alone.

    On a CPU, XLA makes steps of dense nets two to ten times faster, convolutions and dropout
    several times slower, and it does not know every operation that a model may use. Products of
    bfloat16 are faster in a graph there. Convolutions of float16 are hundreds of times slower
    outside of XLA.

    Raises:
        ValueError: there is no such execution; or one for float16 that would take forever.
    """
    check_choice("execution", execution, EXECUTIONS)
    layers = getattr(model, "layers", None) or [None]
    on_cpu = not tf.config.list_physical_devices("GPU")
    dense = all(type(layer).__name__ in _DENSE_LAYERS for layer in layers)
    if precision == "mixed_float16" and on_cpu and not dense:
        if execution not in ("auto", "xla"):
            raise ValueError(
                f"execution {execution!r} makes convolutions of mixed_float16 hundreds of times "
                "slower on a CPU: take 'xla', or the precision mixed_bfloat16"
            )
        return "xla"
    if execution != "auto":
        return execution
    return "xla" if dense and not (precision == "mixed_bfloat16" and on_cpu) else "graph"


def why_no_faster(precision: str | None, processor: Path = Path("/proc/cpuinfo")) -> str | None:
    """Why a mixed precision is not expected to be faster than float32 here; None where it may be.

    Args:
        precision: its name.
        processor: the file in which Linux tells what the processor can do.
    """
    mixed = precision in ("mixed_bfloat16", "mixed_float16")
    if not mixed or tf.config.list_physical_devices("GPU"):
        return None
    if precision == "mixed_float16":
        return "processors compute float16 as float32: mixed_float16 is for GPUs"
    try:
        has_amx = "amx_bf16" in processor.read_text(encoding="utf-8")
    except OSError:
        return None
    if has_amx:
        return None
    return "without AMX a processor is no faster with bfloat16 than with float32"


def autotune(
    rule: str,
    run: Callable[[str, int], None],
    graph: Callable[[], Any],
    steps: int,
    in_a_row: int,
    shapes: str,
) -> tuple[str, dict[str, float]]:
    """The autotune way for a run of so many steps, and the steps per second that were measured.

    Runs too short for it to matter, and those whose answer is in the cache, measure nothing.

    Args:
        rule: the way to take where nothing is measured.
        run: `(execution, count)`: makes so many steps in that way, on state that is thrown away.
        graph: the graph of a step.
        steps: of the whole run.
        in_a_row: how many steps one call can make, at most.
        shapes: those of the state and of a batch.
    """
    if steps < MEASURED_FROM or in_a_row < 1:
        return rule, {}
    operations = _operations(graph())
    key = _key(operations, shapes)
    known = _read_cache().get(key)
    if known in EXECUTIONS[1:]:
        return str(known), {}
    speeds = {rule: _speed(rule, run, in_a_row)}
    if steps / speeds[rule] < WORTH_SECONDS:
        return rule, {}
    for other in EXECUTIONS[1:]:
        if other == rule or (other == "xla" and _draws(operations)):
            continue
        try:
            speeds[other] = _speed(other, run, in_a_row)
        except (tf.errors.OpError, ValueError):  # what XLA cannot compile
            continue
    best = max(speeds, key=lambda execution: speeds[execution])
    chosen = best if speeds[best] > CLEARLY * speeds[rule] else rule
    _write_cache(_read_cache() | {key: chosen})
    return chosen, speeds


def _speed(execution: str, run: Callable[[str, int], None], in_a_row: int) -> float:
    """Steps per second, once all is compiled."""
    run(execution, 1)
    count = 1
    while True:
        began = time.perf_counter()
        run(execution, count)
        elapsed = time.perf_counter() - began
        if elapsed >= TIMED_SECONDS or count >= in_a_row:
            return count / max(elapsed, 1e-9)
        count = min(max(2 * count, int(count * TIMED_SECONDS / max(elapsed, 1e-9))), in_a_row)


def _operations(graph: Any) -> dict[str, int]:
    """How often each operation occurs in a graph and its functions."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return dict(Counter(node.op for node in nodes))


def _draws(operations: dict[str, int]) -> bool:
    """Whether a graph draws random numbers, which XLA may draw otherwise."""
    return any("Random" in name for name in operations)


def _key(operations: dict[str, int], shapes: str) -> str:
    """What a choice is kept by: the step's operations and shapes, the device, the versions."""
    devices = [str(device.name) for device in tf.config.list_logical_devices()]
    about = [
        sorted(operations.items()),
        shapes,
        devices,
        platform.machine(),
        os.cpu_count(),
        tf.version.VERSION,
        keras.version(),
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def cache_file() -> Path:
    """Where choices are kept: $TRAINLIB_CACHE, or trainlib in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get(CACHE_VARIABLE) or Path(cache) / "trainlib")
    return folder / "execution.json"


def _read_cache() -> dict[str, str]:
    """The choices by key; none where there is no file, or one that cannot be read."""
    try:
        content = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_cache(choices: dict[str, str]) -> None:
    """Writes the file whole or not at all; a folder that cannot be written to is no error."""
    file = cache_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(choices, indent=2))
    except OSError:
        return
