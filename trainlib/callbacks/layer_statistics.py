"""Statistics of the activations and gradients of each layer: vanishing gradients, dead units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree
from trainlib.step.repartition import joined_weights, split_weights
from trainlib.training.chunks import specs_of
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.keras_private import all_layers
from trainlib.training.layer_calls import calls_through

SATURATED = 0.01
"""Distance from an end of its range, as a fraction of the range, within which an activation is
saturated."""
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Activations that saturate at both ends of a range."""
RECTIFIERS = ("relu", "relu6")
"""Activations whose units are dead where they are 0 for all examples."""
ACTIVATION_LAYERS = ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")
"""Layers of Keras that are an activation without an attribute of that name, by their class."""
BATCH = 64


class LayerStatistics(NamedTuple):
    """Statistics of the activations of a layer over some examples.

    Attributes:
        mean: mean of the activations.
        std: standard deviation of the activations.
        saturated: fraction of the activations within 1% of an end of the range of sigmoid or tanh;
            None for other activations.
        dead: fraction of the units of a ReLU that are 0 for every example; None for other
            activations. The units are those of the last axis.

    Example:
        >>> model = tl.models.mlp((2,), 1, hidden=(3,), initializer="zeros")
        >>> found = tl.callbacks.layer_statistics(model, np.ones([5, 2], "float32"))
        >>> found["activation_1"]
        LayerStatistics(mean=0.0, std=0.0, saturated=None, dead=1.0)
    """

    mean: float
    std: float
    saturated: float | None = None
    dead: float | None = None


class _Sums(NamedTuple):
    """Sums over a batch: number, sum, sum of squares, saturated ones, and which units are not 0."""

    count: Tensor
    total: Tensor
    squares: Tensor
    saturated: Tensor
    active: Tensor


def layer_statistics(
    model: Any, x: Any, params: Tree | None = None, model_state: Tree | None = None
) -> dict[str, LayerStatistics]:
    """Return the statistics of the activations of each layer, the model in inference mode.

    Included are all layers with weights or an activation, also in nested and subclassed models, but
    not the cells of recurrent layers. If the standard deviations decrease from layer to layer, the
    gradients vanish; saturated and dead units have no gradient.

    Args:
        model: a built Keras model.
        x: an array, or a structure of arrays, of inputs.
        params: values of the trained variables by path. Default: None, the current values.
        model_state: values of the other variables by path. Default: None, the current values.

    Returns:
        The statistics by the path of the layer, in the order of the calls.

    Raises:
        TypeError: it is not a Keras model.
        ValueError: the model is not built, or `x` holds no example.

    Example:
        >>> model = tl.models.mlp((2,), 1, hidden=(3,), activation="sigmoid")
        >>> found = tl.callbacks.layer_statistics(model, np.full([5, 2], 1e6, "float32"))
        >>> list(found), found["activation_1"].saturated
        (['hidden_1', 'activation_1', 'outputs'], 1.0)

    References:
        Glorot and Bengio 2010, "Understanding the Difficulty of Training Deep Feedforward Neural
        Networks".
    """
    return ActivationObserver(model)(x, params, model_state)


class ActivationObserver:
    """`layer_statistics` of one model, compiled once.

    Args:
        model: the Keras model.
    """

    def __init__(self, model: Any) -> None:
        self._pure = functional_from_keras(model)
        self._model = model
        self._layers = [layer for layer in all_layers(model) if _is_observed(layer)]
        self._kinds: dict[str, str] = {}
        self._program: Any = None

    def __call__(
        self, x: Any, params: Tree | None = None, model_state: Tree | None = None
    ) -> dict[str, LayerStatistics]:
        """Return the statistics for inputs, with the values of some variables."""
        own = joined_weights(self._pure.params, self._pure.model_state)
        given = joined_weights({} if params is None else params, model_state or {})
        # A layer that was unfrozen later has its values in `params`, but not in those of `_pure`.
        values = split_weights({**own, **given}, self._pure)
        x = tf.nest.map_structure(tf.convert_to_tensor, x)
        size = len(tf.nest.flatten(x)[0])
        if size == 0:
            raise ValueError("x must hold at least one example")
        if self._program is None:
            specs = tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), values)
            signature = [*specs, specs_of(x)]
            self._program = tf.function(self._sums, input_signature=signature, autograph=False)
            self._program.get_concrete_function()  # TensorFlow counts a tracing call as a retrace
        parts = []
        for start in range(0, size, BATCH):
            rows = slice(start, start + BATCH)
            batch = tf.nest.map_structure(lambda a: a[rows], x)  # noqa: B023
            parts.append(self._program(*values, batch))
        return {
            name: _statistics([part[name] for part in parts], kind)
            for name, kind in self._kinds.items()
        }

    def _sums(self, params: Tree, model_state: Tree, x: Tree) -> dict[str, _Sums]:
        """Return the sums of each layer's activations, by path."""
        observed: dict[str, tuple[Any, Tensor]] = {}

        def observe(layer: Any, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
            outputs = call(*args, **options)
            if tf.is_tensor(outputs) and outputs.dtype.is_floating:
                path = (layer.path or layer.name).removeprefix(f"{self._model.name}/")
                name, calls = path, 1
                while name in observed:
                    calls += 1
                    name = f"{path} (call {calls})"
                observed[name] = layer, outputs
            return outputs

        with calls_through(self._layers, observe):
            self._pure.apply_fn(params, model_state, x, training=False)
        graph = tf.compat.v1.get_default_graph()
        outer = {n: (layer, y) for n, (layer, y) in observed.items() if y.graph is graph}
        self._kinds = {name: _kind(layer) for name, (layer, _) in outer.items()}
        return {name: _sums_of(y, self._kinds[name]) for name, (_, y) in outer.items()}


def gradient_statistics(grads: Tree) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of the gradient of each parameter, by tag and path."""
    arrays = {
        path: np.asarray(g).astype(np.float64) for path, g in leaves_by_path(grads) if g is not None
    }
    return {
        "gradient_mean": {path: float(g.mean()) for path, g in arrays.items()},
        "gradient_std": {path: float(g.std()) for path, g in arrays.items()},
    }


def by_tag(found: dict[str, LayerStatistics]) -> dict[str, float]:
    """Return the statistics of activations as points of curves: `activation_std/hidden_1`, ..."""
    tags = {"mean": "activation_mean", "std": "activation_std"}
    return {
        f"{tags.get(name, name)}/{path}": value
        for path, statistics in found.items()
        for name, value in statistics._asdict().items()
        if value is not None
    }


def _is_observed(layer: Any) -> bool:
    """Return whether the outputs of a layer are activations: it has weights or an activation."""
    contains = [part for part in all_layers(layer) if part is not layer]
    if contains and not isinstance(layer, keras.layers.RNN):
        return False
    kinds: Any = tuple(getattr(keras.layers, kind) for kind in ACTIVATION_LAYERS)
    activates = hasattr(layer, "activation") or isinstance(layer, kinds)
    return activates or bool(layer.weights)


def _kind(layer: Any) -> str:
    """Return the name of an activation that saturates or has dead units; "" for others."""
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope:
        return "relu"
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    known = name in RANGES or name in RECTIFIERS
    return name if known and not isinstance(layer, keras.layers.RNN) else ""


def _sums_of(y: Tensor, kind: str) -> _Sums:
    """Return the sums of activations."""
    wide = tf.cast(y, tf.float64)
    low, high = RANGES.get(kind, (-np.inf, np.inf))
    margin = SATURATED * (high - low) if kind in RANGES else 0.0
    at_an_end = (wide <= low + margin) | (wide >= high - margin)
    return _Sums(
        tf.size(y, tf.int64),
        tf.reduce_sum(wide),
        tf.reduce_sum(wide**2),
        tf.math.count_nonzero(at_an_end),
        tf.reduce_any(tf.reshape(wide, [-1, tf.shape(wide)[-1]]) != 0, axis=0),
    )


def _statistics(parts: list[_Sums], kind: str) -> LayerStatistics:
    """Return the statistics of all batches."""
    count, total, squares, saturated = (
        float(np.sum([np.asarray(part[i]) for part in parts])) for i in range(4)
    )
    mean = total / count
    std = max(squares / count - mean**2, 0.0) ** 0.5
    active = np.any([np.asarray(part.active) for part in parts], axis=0)
    return LayerStatistics(
        mean,
        std,
        saturated / count if kind in RANGES else None,
        1 - float(active.mean()) if kind in RECTIFIERS else None,
    )
