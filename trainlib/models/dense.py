"""Dense networks: `perceptron` and `mlp`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from trainlib.models.checks import named_model
from trainlib.models.columns import parse_columns
from trainlib.models.dropout import Dropout, chosen_dropout
from trainlib.models.layers import (
    activation_layer,
    chain,
    check_normalization,
    first_layers,
    flatten,
    kernel_initializer,
    last_layers,
    maxout_pieces,
)

HIDDEN = (300, 100)
WIDTH = 100
FOURIER_SCALE = 1.0


@named_model
def perceptron(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    initializer: str = "glorot_uniform",
) -> Any:
    """Return a model with a single dense layer: softmax, logistic or linear regression.

    y = W x + b. With `loss="hinge"` and `sgd` it learns as Rosenblatt's perceptron does, with a
    margin; its step function itself has no gradient.

    Args:
        input_shape: shape of one example; flattened if it has more than one axis.
        outputs: number of units, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        initializer: initializer of the kernel, as in `mlp`. Default: "glorot_uniform".

    Returns:
        A built `keras.Sequential` named "perceptron".

    Raises:
        ValueError: a number is out of its range, or Keras has no such initializer.

    Example:
        >>> tl.models.perceptron((28, 28), 10, "softmax").count_params()
        7850

    References:
        Rosenblatt 1958, "The Perceptron: A Probabilistic Model for Information Storage and
        Organization in the Brain".
    """
    kernel = kernel_initializer(initializer, "linear")
    layers = first_layers(input_shape, preprocessing) + flatten(input_shape)
    last = last_layers(outputs, output_activation, kernel)
    return keras.Sequential([*layers, *last], name="perceptron")


class HiddenLayers(NamedTuple):
    """Settings of the hidden dense layers of a model.

    Attributes:
        kernel: initializer of the kernels.
        activation: activation, with options.
        dropout: dropout of the layers.
        batch_norm: position of batch normalization, "before" or "after" the activation; "" for
            none.
    """

    kernel: Any
    activation: str
    dropout: Dropout
    batch_norm: str = ""

    def layers(self, index: int, width: int) -> list[Any]:
        """Return a dense layer with its normalization, activation and dropout.

        Args:
            index: number of the hidden layer, from 1.
            width: number of units.
        """
        normalization = [] if not self.batch_norm else [_batch_norm(index)]
        pieces = maxout_pieces(self.activation)
        layers = [self._dense(index, width * pieces)]
        if self.batch_norm == "before":
            layers += normalization
        if pieces > 1:
            layers.append(keras.layers.Reshape((pieces, width), name=f"pieces_{index}"))
            layers.append(keras.layers.GlobalMaxPooling1D(name=f"activation_{index}"))
        else:
            layers.append(activation_layer(self.activation, f"activation_{index}"))
        if self.batch_norm == "after":
            layers += normalization
        return [*layers, *self.dropout.layers(f"dropout_{index}")]

    def _dense(self, index: int, units: int) -> Any:
        options = {
            "kernel_initializer": self.kernel,
            "use_bias": self.batch_norm != "before",
            "name": f"hidden_{index}",
        }
        if self.dropout.rate and self.dropout.kind == "drop_connect":
            from trainlib.models.custom_layers import DropConnect

            return DropConnect(units, self.dropout.rate, **options)
        return keras.layers.Dense(units, **options)


def _batch_norm(index: int) -> Any:
    return keras.layers.BatchNormalization(name=f"batch_norm_{index}")


@named_model
def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    hidden: Sequence[int] = HIDDEN,
    depth: int | None = None,
    width: int | None = None,
    last_width: int | None = None,
    activation: str = "auto",
    initializer: str = "auto",
    self_normalizing: bool = False,
    batch_norm: bool = False,
    batch_norm_position: str = "before",
    residual: int = 0,
    dropout: float = 0.0,
    dropout_kind: str = "auto",
    fourier_features: int = 0,
    fourier_columns: str | None = None,
    fourier_scale: float = FOURIER_SCALE,
) -> Any:
    """Return a multilayer perceptron: hidden dense layers, then the output layer.

    A hidden layer is h_i = drop(activation(norm(W_i h_{i-1} + b_i))), h_0 = x, with optional
    normalization and dropout. With `residual=n`, each n hidden layers after the first one are a
    block, h + layers(h). With `fourier_features`, h_0 = [x, sin(2 pi x_c B), cos(2 pi x_c B)]: the
    network can then learn functions that vary fast with few columns x_c, such as coordinates.

    Args:
        input_shape: shape of one example; flattened if it has more than one axis.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        hidden: widths of the hidden layers; () for a linear model. Default: (300, 100).
        depth: number of hidden layers, instead of `hidden`; 0 for a linear model. Default: None.
        width: with `depth`, units of each hidden layer, or of the first one. Default: None, 100.
        last_width: with `depth`, units of the last hidden layer; widths are interpolated linearly
            from `width` to `last_width`. Default: None, all widths are equal.
        activation: activation of the hidden layers: a name of Keras's such as relu, leaky_relu,
            elu, selu, gelu, silu, tanh, sigmoid or softmax; prelu, with a slope for each unit; or
            maxout, the largest of two linear functions. Options follow the name, as in
            "leaky_relu:negative_slope=0.1", "elu:alpha=0.5", "prelu:alpha=0.25" and
            "maxout:pieces=3". The default "auto" is relu, or selu if `self_normalizing`.
        initializer: initializer of the hidden kernels by its Keras name, such as glorot_normal,
            he_uniform, lecun_normal, orthogonal or variance_scaling, with options as in
            "variance_scaling:scale=2,mode=fan_avg,distribution=uniform". The default "auto" is
            `he_normal` for ReLU and its variants, `lecun_normal` for SELU, `glorot_uniform`
            otherwise.
        self_normalizing: whether to use SELU, LeCun initialization and, for dropout, alpha dropout:
            for standardized inputs the activations keep mean 0 and variance 1. Default: False.
        batch_norm: whether each hidden layer is normalized over the batch. Default: False.
        batch_norm_position: "before" (default) or "after" the activation.
        residual: number of hidden layers in a residual block; the shortcut is a linear layer if the
            widths differ. Default: 0, no shortcuts.
        dropout: fraction of each hidden layer's units to drop, in [0, 1). Default: 0.
        dropout_kind: "dropout"; "gaussian", noise factors of the same variance; "gaussian_noise",
            added noise of standard deviation `dropout`; "alpha", for SELU; "stochastic_depth",
            which drops whole residual blocks, the last ones at the rate `dropout`; or
            "drop_connect", which drops weights. The default "auto" is dropout, or alpha if
            `self_normalizing`.
        fourier_features: number of frequencies, the columns of B, which are trained. Default: 0,
            none.
        fourier_columns: the columns x_c, counted from 0, as in "6,7" or "0-2". Default: None, all.
        fourier_scale: standard deviation of the initial frequencies, in cycles per unit of x,
            which is a standard deviation of standardized columns. Default: 1.

    Returns:
        A built `keras.Sequential` named "mlp"; a `keras.Model` if it has residual blocks.

    Raises:
        ValueError: a number is out of its range, Keras has no such activation or initializer, or
            hyperparameters contradict each other.

    Example:
        >>> model = tl.models.mlp((28, 28), 10, "softmax", hidden=(64,), dropout=0.2)
        >>> [layer.name for layer in model.layers]
        ['flatten', 'hidden_1', 'activation_1', 'dropout_1', 'outputs', 'probabilities']
        >>> pyramid = tl.models.mlp((8,), 1, depth=3, width=300, last_width=100)
        >>> [pyramid.get_layer(f"hidden_{i}").units for i in (1, 2, 3)]
        [300, 200, 100]

    References:
        Klambauer et al. 2017, "Self-Normalizing Neural Networks". Goodfellow et al. 2013, "Maxout
        Networks". Huang et al. 2016, "Deep Networks with Stochastic Depth". Tancik et al. 2020,
        "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains".
    """
    widths = _widths(hidden, depth, width, last_width)
    if activation == "auto":
        activation = "selu" if self_normalizing else "relu"
    if dropout_kind == "auto":
        dropout_kind = "alpha" if self_normalizing else "dropout"
    if self_normalizing:
        _check_self_normalizing(activation, initializer, batch_norm, dropout_kind)
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    _check_blocks(residual, len(widths), dropped)
    check_normalization(activation, batch_norm)
    if batch_norm_position != "before" and not batch_norm:
        raise ValueError("batch_norm_position has no effect without batch_norm")
    position = batch_norm_position if batch_norm else ""
    kinds = HiddenLayers(kernel_initializer(initializer, activation), activation, dropped, position)
    first = first_layers(input_shape, preprocessing) + flatten(input_shape)
    first += _fourier(math.prod(input_shape), fourier_features, fourier_columns, fourier_scale)
    layers = [kinds.layers(i, units) for i, units in enumerate(widths, start=1)]
    last = last_layers(outputs, output_activation)
    if not residual:
        return keras.Sequential([*first, *sum(layers, []), *last], name="mlp")
    x = chain(first[0], [*first[1:], *layers[0]])
    x = _residual_blocks(x, layers[1:], residual, dropped)
    return keras.Model(first[0], chain(x, last), name="mlp")


def _widths(
    hidden: Sequence[int], depth: int | None, width: int | None, last_width: int | None
) -> list[int]:
    """Return the widths of the hidden layers."""
    if depth is None:
        for name, value in (("width", width), ("last_width", last_width)):
            if value is not None:
                raise ValueError(f"{name} needs depth, the number of hidden layers")
        return list(hidden)
    if tuple(hidden) != HIDDEN:
        raise ValueError("hidden and depth both set the widths: give one of them")
    width = WIDTH if width is None else width
    last_width = width if last_width is None else last_width
    steps = max(depth - 1, 1)
    return [round(width + (last_width - width) * i / steps) for i in range(depth)]


def _fourier(size: int, features: int, columns: str | None, scale: float) -> list[Any]:
    """Return the layer of Fourier features for an input with `size` columns; [] for none."""
    if not features:
        for name, is_given in (
            ("fourier_columns", columns is not None),
            ("fourier_scale", scale != FOURIER_SCALE),
        ):
            if is_given:
                raise ValueError(f"{name} needs fourier_features, the number of frequencies")
        return []
    from trainlib.models.custom_layers import FourierFeatures

    chosen = None if columns is None else parse_columns("fourier_columns", columns, size)
    return [FourierFeatures(features, scale, chosen, name="fourier_features")]


def _check_blocks(size: int, depth: int, dropout: Dropout) -> None:
    """Raise `ValueError` unless the hidden layers after the first one form complete blocks."""
    if size and (depth < 1 + size or (depth - 1) % size):
        raise ValueError(
            f"residual={size} needs 1 hidden layer and a multiple of {size} after it, got {depth}"
        )
    if dropout.rate and dropout.kind == "stochastic_depth" and not size:
        raise ValueError("dropout_kind=stochastic_depth drops residual blocks: it needs residual")


def _check_self_normalizing(
    activation: str, initializer: str, batch_norm: bool, dropout_kind: str
) -> None:
    """Raise `ValueError` for settings that contradict a self-normalizing network."""
    wrong = {
        f"activation {activation}": activation != "selu",
        f"initializer {initializer}": initializer not in ("auto", "lecun_normal", "lecun_uniform"),
        "batch_norm": batch_norm,
        f"dropout_kind {dropout_kind}": dropout_kind != "alpha",
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(
                "self_normalizing is SELU, LeCun initialization and alpha dropout without batch "
                f"normalization: leave {name} out"
            )


def _residual_blocks(x: Any, layers: list[list[Any]], size: int, dropout: Dropout) -> Any:
    """Return the output of residual blocks, of `size` hidden layers each, for an input."""
    blocks = [layers[i : i + size] for i in range(0, len(layers), size)]
    for k, block in enumerate(blocks, start=1):
        drop = dropout.branch_layers(f"drop_block_{k}", 1, k / len(blocks))
        branch = chain(x, [*sum(block, []), *drop])
        if branch.shape != x.shape:
            shortcut = keras.layers.Dense(branch.shape[-1], use_bias=False, name=f"shortcut_{k}")
            x = shortcut(x)
        x = keras.layers.Add(name=f"add_{k}")([x, branch])
    return x
