"""The models of the workloads in JAX: functions of the list of weights that Keras's models have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from workloads import Workload

EPSILON = 1e-3
"""Of normalizations, as in Keras."""
MOMENTUM = 0.9
"""Of the statistics of batch normalization."""
HEADS = 4


class Weights:
    """The weights of a model, taken one by one in the order of its layers.

    Attributes:
        training: whether the model is in training mode.
        statistics: the new statistics of batch normalizations, by their places in the list.
    """

    def __init__(self, weights: list[Any], training: bool) -> None:
        self.training, self._weights, self._at = training, weights, 0
        self.statistics: dict[int, Any] = {}

    def take(self) -> Any:
        """Return the next weight."""
        self._at += 1
        return self._weights[self._at - 1]

    def replace(self, value: Any) -> None:
        """Set the new value of the weight that was taken last."""
        self.statistics[self._at - 1] = value


def forward(
    of: Workload, weights: list[Any], x: Any, training: bool = False
) -> tuple[Any, dict[int, Any]]:
    """Return the outputs, logits or values, and the new statistics by place in the list."""
    given = Weights(weights, training)
    return NETS[of.net](of, given, x), given.statistics


def _dense(w: Weights, x: Any) -> Any:
    return x @ w.take() + w.take()


def _conv(w: Weights, x: Any, stride: int = 1, padding: str = "SAME") -> Any:
    return _convolved(x, w.take(), stride, padding)


def _convolved(x: Any, kernel: Any, stride: int = 1, padding: str = "SAME", groups: int = 1) -> Any:
    axes = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=axes, feature_group_count=groups
    )


def _max_pool(x: Any) -> Any:
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def _chain(of: Workload, w: Weights, x: Any) -> Any:
    if of.filters:
        x = _max_pool(jax.nn.relu(_conv(w, x, padding="VALID") + w.take()))
        x = x.reshape(len(x), -1)
    for _ in of.hidden:
        x = jax.nn.relu(_dense(w, x))
    return _dense(w, x)


def _batch_norm(w: Weights, x: Any) -> Any:
    gamma, beta = w.take(), w.take()
    mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
    used = []
    for of_batch in (mean, variance):
        moving = w.take()
        used.append(of_batch if w.training else moving)
        if w.training:
            w.replace(MOMENTUM * moving + (1 - MOMENTUM) * jax.lax.stop_gradient(of_batch))
    mean, variance = used
    return (x - mean) * (gamma * jax.lax.rsqrt(variance + EPSILON)) + beta


def _resnet(of: Workload, w: Weights, x: Any) -> Any:
    x = jax.nn.relu(_batch_norm(w, _conv(w, x)))
    for k in range(9):
        stride = 2 if k in (3, 6) else 1
        y = jax.nn.relu(_batch_norm(w, _conv(w, x, stride)))
        y = _batch_norm(w, _conv(w, y))
        if stride == 2:
            added = x.shape[-1] // 2
            x = jnp.pad(x[:, ::2, ::2], [[0, 0]] * 3 + [[added, added]])
        x = jax.nn.relu(x + y)
    return _dense(w, x.mean((1, 2)))


def _separable(of: Workload, w: Weights, x: Any) -> Any:
    for layer in range(6):
        channels = x.shape[-1]
        kernel = w.take().reshape(3, 3, 1, channels)
        x = _convolved(x, kernel, groups=channels)
        x = jax.nn.relu(_convolved(x, w.take()) + w.take())
        if layer in (1, 3):
            x = _max_pool(x)
    return _dense(w, jax.nn.relu(_dense(w, x.mean((1, 2)))))


def _lstm(of: Workload, w: Weights, x: Any) -> Any:
    x = w.take()[x]
    kernel, recurrent, bias = w.take(), w.take(), w.take()

    def step(carry: Any, gates: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(gates + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), recurrent.shape[0]))
    gates = jnp.swapaxes(x @ kernel + bias, 0, 1)
    (h, _), _ = jax.lax.scan(step, (zeros, zeros), gates)
    return _dense(w, h)


def _gru(of: Workload, w: Weights, x: Any) -> Any:
    x = w.take()[x]
    kernel, recurrent, bias = w.take(), w.take(), w.take()

    def step(h: Any, gates: Any) -> Any:
        z, r, candidate = jnp.split(gates, 3, axis=-1)
        of_z, of_r, of_candidate = jnp.split(h @ recurrent + bias[1], 3, axis=-1)
        z, r = jax.nn.sigmoid(z + of_z), jax.nn.sigmoid(r + of_r)
        return z * h + (1 - z) * jnp.tanh(candidate + r * of_candidate), None

    gates = jnp.swapaxes(x @ kernel + bias[0], 0, 1)
    h, _ = jax.lax.scan(step, jnp.zeros((len(x), recurrent.shape[0])), gates)
    return _dense(w, h)


def _embedding(of: Workload, w: Weights, x: Any) -> Any:
    return _dense(w, w.take()[x].mean(1))


def _layer_norm(w: Weights, x: Any) -> Any:
    gamma, beta = w.take(), w.take()
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + EPSILON) * gamma + beta


def _attention(w: Weights, x: Any) -> Any:
    q, k, v = (jnp.einsum("btd,dhk->bthk", x, w.take()) + w.take() for _ in range(3))
    weights = jax.nn.softmax(jnp.einsum("bqhk,bthk->bhqt", q / q.shape[-1] ** 0.5, k))
    mixed = jnp.einsum("bhqt,bthk->bqhk", weights, v)
    return jnp.einsum("bqhk,hkd->bqd", mixed, w.take()) + w.take()


def _transformer(of: Workload, w: Weights, x: Any) -> Any:
    x = w.take()[x] + w.take()
    for _ in range(2):
        x = x + _attention(w, _layer_norm(w, x))
        hidden = jax.nn.gelu(_dense(w, _layer_norm(w, x)), approximate=False)
        x = x + _dense(w, hidden)
    return _dense(w, _layer_norm(w, x).mean(1))


def _wide_deep(of: Workload, w: Weights, x: Any) -> Any:
    deep = x["deep"]
    for _ in of.hidden:
        deep = jax.nn.relu(_dense(w, deep))
    aux = _dense(w, deep)
    return {"main": _dense(w, jnp.concatenate([x["wide"], deep], axis=-1)), "aux": aux}


NETS: dict[str, Callable[[Workload, Weights, Any], Any]] = {
    "": _chain,
    "resnet": _resnet,
    "separable": _separable,
    "lstm": _lstm,
    "gru": _gru,
    "embedding": _embedding,
    "transformer": _transformer,
    "wide_deep": _wide_deep,
}
"""The models by `Workload.net`."""
