"""Networks for sequences: `rnn` and `transformer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from trainlib.models.checks import named_model
from trainlib.models.dropout import Dropout, chosen_dropout
from trainlib.models.layers import (
    activation_layer,
    chain,
    first_layers,
    kernel_initializer,
    last_layers,
)


@named_model
def rnn(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    cell: str = "lstm",
    units: int = 64,
    depth: int = 1,
    bidirectional: bool = False,
    vocabulary: int = 0,
    embedding: int = 32,
    dropout: float = 0.0,
    dropout_kind: str = "auto",
) -> Any:
    """Return a recurrent network: the last state of LSTM or GRU layers, then the output layer.

    Args:
        input_shape: shape of one sequence: (steps,) for numbers, or for integers with `vocabulary`;
            or (steps, features), such as the rows of an image.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        cell: "lstm" (default), "gru" or "simple", an RNN without gates.
        units: number of units of each recurrent layer. Default: 64.
        depth: number of recurrent layers. Default: 1.
        bidirectional: whether each layer reads the sequence in both directions. Default: False.
        vocabulary: number of different integers, which get an embedding; the integer 0 is padding,
            and masked. Default: 0, the inputs are numbers.
        embedding: length of the embedding vectors. Default: 32.
        dropout: fraction of the values to drop before each recurrent layer but the first, and
            before the output layer; for "spatial" before each layer that takes a sequence. Default:
            0.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise", as
            in `mlp`; or "spatial", whole features of a sequence.

    Returns:
        A built `keras.Sequential` named "rnn".

    Raises:
        ValueError: the examples are not sequences, or a number is out of its range.

    Example:
        >>> tl.models.rnn((20,), 2, "softmax", cell="gru", vocabulary=1000).count_params()
        50946

    References:
        Hochreiter and Schmidhuber 1997, "Long Short-Term Memory". Cho et al. 2014, "Learning Phrase
        Representations using RNN Encoder-Decoder for Statistical Machine Translation".
    """
    dropped = chosen_dropout(dropout, dropout_kind, "tanh")
    layers = _sequence_input(input_shape, preprocessing, vocabulary)
    if vocabulary:
        layers.append(_embedding(vocabulary, embedding))
    elif len(input_shape) == 1:
        layers.append(keras.layers.Reshape((*input_shape, 1), name="features"))
    for i in range(1, depth + 1):
        layers += dropped.spatial_layers(f"dropout_{i}", 2)
        layers.append(_recurrent(cell, units, f"{cell}_{i}", i < depth, bidirectional))
        layers += dropped.layers(f"dropout_{i}", 2 if i < depth else 1)
    return keras.Sequential([*layers, *last_layers(outputs, output_activation)], name="rnn")


def _recurrent(cell: str, units: int, name: str, sequences: bool, bidirectional: bool) -> Any:
    """Return a recurrent layer, which returns the sequence of its states or the last state."""
    kinds = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple": keras.layers.SimpleRNN}
    if not bidirectional:
        return kinds[cell](units, return_sequences=sequences, name=name)
    layer = kinds[cell](units, return_sequences=sequences, name=cell)
    return keras.layers.Bidirectional(layer, name=name)


@named_model
def transformer(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    depth: int = 2,
    width: int = 64,
    heads: int = 4,
    feedforward: int = 128,
    positions: str = "learned",
    vocabulary: int = 0,
    activation: str = "gelu",
    initializer: str = "glorot_uniform",
    dropout: float = 0.1,
    dropout_kind: str = "auto",
) -> Any:
    """Return a small transformer encoder: attention blocks, the mean over steps, the output layer.

    A block is x + attention(norm(x)), then x + dense(activation(dense(norm(x)))), with layer
    normalization before each part ("pre-norm"). Steps of padding are masked in the attention and
    left out of the mean, which is 0 for a sequence of padding only.

    Args:
        input_shape: shape of one sequence: (steps,) of numbers, or of integers with `vocabulary`;
            or (steps, features). The rows of an image are such a sequence.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        depth: number of blocks. Default: 2.
        width: length of the vectors of a step, a multiple of `heads`. Default: 64.
        heads: number of attention heads. Default: 4.
        feedforward: units of the hidden layer of a block. Default: 128.
        positions: position embedding: "learned" (default), "sinusoidal" or "none", with which the
            model does not depend on the order of the steps.
        vocabulary: number of different integers, which get an embedding; the integer 0 is padding.
            Default: 0, the inputs are numbers, which a dense layer turns into vectors.
        activation: activation of the hidden layers of blocks, as in `mlp`, without maxout. Default:
            "gelu".
        initializer: initializer of the kernels, as in `mlp`. Default: "glorot_uniform".
        dropout: fraction of the output of each part to drop, in [0, 1). Default: 0.1.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise", as
            in `mlp`; or "stochastic_depth", which drops complete parts, with a rate that grows
            linearly to `dropout` at the last block.

    Returns:
        A built `keras.Model` named "transformer". With positions, it has the layer
        `PositionEmbedding` of `trainlib.models.custom_layers`, with a vocabulary `MaskedMean`.

    Raises:
        ValueError: the examples are not sequences, `width` is not a multiple of `heads`, a number
            is out of its range, or Keras has no such activation or initializer.

    Example:
        >>> model = tl.models.transformer((20,), 2, vocabulary=1000, positions="none")
        >>> model.count_params()
        131202

    References:
        Vaswani et al. 2017, "Attention Is All You Need". Xiong et al. 2020, "On Layer Normalization
        in the Transformer Architecture".
    """
    if width % heads:
        raise ValueError(f"width must be a multiple of heads, {heads}, got {width}")
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kinds = _Blocks(kernel_initializer(initializer, activation), activation, dropped)
    first, *layers = _sequence_input(input_shape, preprocessing, vocabulary)
    if vocabulary:
        layers.append(_embedding(vocabulary, width))
    else:
        if len(input_shape) == 1:
            layers.append(keras.layers.Reshape((*input_shape, 1), name="features"))
        layers.append(keras.layers.Dense(width, kernel_initializer=kinds.kernel, name="embedding"))
    x = chain(first, [*layers, *_positions(positions)])
    for k in range(1, depth + 1):
        x = kinds.attention(x, f"block_{k}_attention", heads, k / depth)
        x = kinds.feedforward(x, f"block_{k}_dense", feedforward, k / depth)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = _mean(bool(vocabulary))(x)
    return keras.Model(first, chain(x, last_layers(outputs, output_activation)), name="transformer")


class _Blocks(NamedTuple):
    """Settings of the blocks of a transformer."""

    kernel: Any
    activation: str
    dropout: Dropout

    def attention(self, x: Any, name: str, heads: int, position: float) -> Any:
        """Return the sum of an input and its self-attention."""
        normal = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
        layer = keras.layers.MultiHeadAttention(
            heads, x.shape[-1] // heads, kernel_initializer=self.kernel, name=name
        )
        return self._add(x, layer(normal, normal), name, position)

    def feedforward(self, x: Any, name: str, units: int, position: float) -> Any:
        """Return the sum of an input and a dense network, applied to each step."""
        options = {"kernel_initializer": self.kernel}
        branch = [
            keras.layers.LayerNormalization(name=f"{name}_norm"),
            keras.layers.Dense(units, name=f"{name}_1", **options),
            activation_layer(self.activation, f"{name}_activation", 1),
            keras.layers.Dense(x.shape[-1], name=f"{name}_2", **options),
        ]
        return self._add(x, chain(x, branch), name, position)

    def _add(self, x: Any, branch: Any, name: str, position: float) -> Any:
        """Return the sum of an input and the output of a part, after dropout."""
        name_of_layer = f"{name}_dropout"
        dropped = self.dropout.layers(name_of_layer, 2)
        dropped += self.dropout.branch_layers(name_of_layer, 2, position)
        return keras.layers.Add(name=f"{name}_add")([x, chain(branch, dropped)])


def _sequence_input(
    input_shape: tuple[int, ...], preprocessing: Sequence[Any], vocabulary: int
) -> list[Any]:
    """Return the input and the preprocessing of sequences, which are integers with a vocabulary."""
    if not vocabulary:
        return first_layers(input_shape, preprocessing)
    if len(input_shape) != 1:
        raise ValueError(
            "vocabulary is for sequences of integers, of 1 axis; the examples have shape "
            f"{input_shape}"
        )
    if preprocessing:
        raise ValueError("preprocessing is for numbers: integers of a vocabulary have none")
    return first_layers(input_shape, (), dtype="int32")


def _embedding(vocabulary: int, width: int) -> Any:
    """Return the embedding layer, which masks the integer 0, the padding."""
    return keras.layers.Embedding(vocabulary, width, mask_zero=True, name="embedding")


def _mean(masked: bool) -> Any:
    """Return the layer that takes the mean over the steps, without masked ones."""
    if not masked:
        return keras.layers.GlobalAveragePooling1D(name="mean")
    from trainlib.models.custom_layers import MaskedMean

    return MaskedMean(name="mean")


def _positions(kind: str) -> list[Any]:
    """Return the layer with the position embedding, as a list; [] for "none"."""
    if kind == "none":
        return []
    from trainlib.models.custom_layers import PositionEmbedding

    return [PositionEmbedding(kind, name="positions")]
