"""The models of the workloads in PyTorch, with the weights of Keras's models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from workloads import Workload

nn, functional = torch.nn, torch.nn.functional
EPSILON = 1e-3
"""Of normalizations, as in Keras."""
WIDTH, HEADS, FEEDFORWARD = 64, 4, 128


def make_model(of: Workload, weights: list[np.ndarray]) -> Any:
    """Return the workload's model, with the weights converted from Keras's layout to PyTorch's."""
    model = NETS[of.net](of)
    given = iter(weights if of.net else _in_order_of_channels(of, weights))
    with torch.no_grad():
        for module in model.modules():
            for name, value in _converted(module, given).items():
                getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return model


def _in_order_of_channels(of: Workload, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return the weights with the inputs of the first dense kernel ordered by channel first."""
    if not of.filters:
        return weights
    rows, columns = ((size - 2) // 2 for size in of.input_shape[:2])
    dense = weights[2].reshape(rows, columns, of.filters, -1).transpose(2, 0, 1, 3)
    return [*weights[:2], dense.reshape(weights[2].shape), *weights[3:]]


def _converted(module: Any, given: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the next weights that belong to a module, by name; {} for one without."""
    if isinstance(module, nn.Linear):
        kernel = next(given).reshape(module.in_features, module.out_features)
        return {"weight": kernel.T, "bias": next(given).reshape(-1)}
    if isinstance(module, nn.Conv2d):
        axes = (2, 3, 0, 1) if module.groups > 1 or module.depthwise else (3, 2, 0, 1)
        found = {"weight": next(given).transpose(axes)}
        return found if module.bias is None else {**found, "bias": next(given)}
    if isinstance(module, nn.BatchNorm2d):
        names = ("weight", "bias", "running_mean", "running_var")
    elif isinstance(module, nn.LayerNorm):
        names = ("weight", "bias")
    elif isinstance(module, (nn.Embedding, Positions)):
        names = ("weight",)
    elif isinstance(module, (nn.LSTM, nn.GRU)):
        return _recurrent(module, next(given), next(given), next(given))
    else:
        return {}
    return {name: next(given) for name in names}


def _recurrent(
    module: Any, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the weights of a recurrent layer.

    An LSTM has one bias in Keras: the second is 0 and not trained. A GRU has its gates in another
    order.
    """
    if isinstance(module, nn.LSTM):
        module.bias_hh_l0.requires_grad_(False)
        biases = {"bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}
        return {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, **biases}

    def by_gate(w: np.ndarray) -> np.ndarray:
        z, r, candidate = np.split(w, 3, axis=-1)
        return np.concatenate([r, z, candidate], axis=-1)

    biases = {"bias_ih_l0": by_gate(bias[0]), "bias_hh_l0": by_gate(bias[1])}
    return {"weight_ih_l0": by_gate(kernel).T, "weight_hh_l0": by_gate(recurrent).T, **biases}


class Conv2d(nn.Conv2d):  # type: ignore[misc]
    """A convolution that pads as Keras's "same" does: with a stride of 2, after the image only."""

    depthwise = False

    def forward(self, x: Any) -> Any:
        if self.stride[0] == 2:
            x = functional.pad(x, (0, 1, 0, 1))
        return super().forward(x)


def _conv(channels: int, filters: int, stride: int = 1, size: int = 3) -> Any:
    padding = 0 if stride == 2 else size // 2
    return Conv2d(channels, filters, size, stride, padding, bias=False)


def _chain(of: Workload) -> Any:
    layers: list[Any] = []
    if of.filters:
        convolution = Conv2d(of.input_shape[-1], of.filters, 3)
        layers += [convolution, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    widths = [shape[0] for shape in of.shapes() if len(shape) == 2] + [of.outputs]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _normalized(channels: int, filters: int, stride: int = 1) -> list[Any]:
    """Return a convolution and its batch normalization."""
    norm = nn.BatchNorm2d(filters, eps=EPSILON, momentum=0.1)
    return [_conv(channels, filters, stride), norm]


class Block(nn.Module):  # type: ignore[misc]
    """A block of a residual network, whose shortcut has no weights."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.stride = filters // channels
        first = _normalized(channels, filters, self.stride)
        self.branch = nn.Sequential(*first, nn.ReLU(), *_normalized(filters, filters))

    def forward(self, x: Any) -> Any:
        y = self.branch(x)
        if self.stride == 2:
            added = x.shape[1] // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, added, added))
        return functional.relu(x + y)


class MeanOf(nn.Module):  # type: ignore[misc]
    """The mean over some axes."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Any) -> Any:
        return x.mean(self.axes)


def _resnet(of: Workload) -> Any:
    filters = [16, *[16] * 3, *[32] * 3, *[64] * 3]
    blocks = [Block(a, b) for a, b in zip(filters, filters[1:], strict=False)]
    first = [*_normalized(of.input_shape[-1], 16), nn.ReLU()]
    return nn.Sequential(*first, *blocks, MeanOf(2, 3), nn.Linear(64, of.outputs))


def _separable(of: Workload) -> Any:
    layers: list[Any] = []
    filters = [of.input_shape[-1], 32, 64, 64, 128, 64, 128]
    for layer, (a, b) in enumerate(zip(filters, filters[1:], strict=False)):
        by_channel = Conv2d(a, a, 3, padding=1, groups=a, bias=False)
        by_channel.depthwise = True
        layers += [by_channel, Conv2d(a, b, 1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if layer in (1, 3) else []
    dense = [nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, of.outputs)]
    return nn.Sequential(*layers, MeanOf(2, 3), *dense)


class Last(nn.Module):  # type: ignore[misc]
    """The last state of a recurrent layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0][:, -1]


def _of_words(of: Workload, *layers: Any) -> Any:
    embedding = nn.Embedding(of.vocabulary, WIDTH)
    return nn.Sequential(embedding, *layers, nn.Linear(WIDTH, of.outputs))


class Positions(nn.Module):  # type: ignore[misc]
    """Learned vectors of the positions, which are added."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps, WIDTH))

    def forward(self, x: Any) -> Any:
        return x + self.weight


class Attention(nn.Module):  # type: ignore[misc]
    """Attention of the steps to each other, by several heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Any) -> Any:
        given = (self.query(x), self.key(x), self.value(x))
        q, k, v = (a.unflatten(-1, (HEADS, -1)).transpose(1, 2) for a in given)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Added(nn.Module):  # type: ignore[misc]
    """The sum of the input and of what layers make of it."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return x + self.branch(x)


def _transformer(of: Workload) -> Any:
    layers: list[Any] = [Positions(of.input_shape[0])]
    for _ in range(2):
        dense = [nn.Linear(WIDTH, FEEDFORWARD), nn.GELU(), nn.Linear(FEEDFORWARD, WIDTH)]
        layers += [Added(nn.LayerNorm(WIDTH, EPSILON), Attention())]
        layers += [Added(nn.LayerNorm(WIDTH, EPSILON), *dense)]
    return _of_words(of, *layers, nn.LayerNorm(WIDTH, EPSILON), MeanOf(1))


class WideDeep(nn.Module):  # type: ignore[misc]
    """Two inputs and two outputs, as a dict each."""

    def __init__(self, of: Workload) -> None:
        super().__init__()
        (width, last), wide = of.hidden, 5
        self.deep = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, last), nn.ReLU())
        self.aux, self.main = nn.Linear(last, 1), nn.Linear(wide + last, 1)

    def forward(self, x: Any) -> Any:
        deep = self.deep(x["deep"])
        main = self.main(torch.cat([x["wide"], deep], dim=-1))
        return {"main": main, "aux": self.aux(deep)}


NETS: dict[str, Callable[[Workload], Any]] = {
    "": _chain,
    "resnet": _resnet,
    "separable": _separable,
    "lstm": lambda of: _of_words(of, Last(nn.LSTM(WIDTH, WIDTH, batch_first=True))),
    "gru": lambda of: _of_words(of, Last(nn.GRU(WIDTH, WIDTH, batch_first=True))),
    "embedding": lambda of: _of_words(of, MeanOf(1)),
    "transformer": _transformer,
    "wide_deep": WideDeep,
}
"""Makers of the models by `Workload.net`."""
