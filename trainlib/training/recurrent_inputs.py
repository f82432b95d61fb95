"""Recurrent layers with one matrix product for the inputs of all time steps.

A cell of Keras multiplies its inputs by its kernel at each time step, and the gradient of the
kernel is a sum over the steps. The inputs do not depend on the steps before, so that one product
for all of them, before the loop, has the same result up to rounding, and training takes less time.
A forward pass alone does not, if the products of large batches do not fit the processor's cache:
it is that of Keras. On GPUs the layers are left as they are, for cuDNN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.training.gpus import visible_gpus
from trainlib.training.keras_private import all_layers
from trainlib.training.layer_calls import method_replaced


def recurrent_layers_of(model: Any) -> list[Any]:
    """Return the layers of a Keras model whose loop and cell are those of Keras; none on GPUs."""
    if visible_gpus():
        return []
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.RNN)
        and type(layer).inner_loop in _inner_loops()
        and getattr(layer, "use_cudnn", None) is not True
        and type(layer.cell) in _steps()
    ]


def multiply_inputs_first(
    layer: Any,
    inner_loop: Callable[..., Any],
    sequences: Tensor,
    initial_state: Any,
    mask: Any,
    training: bool = False,
) -> Any:
    """Run the loop of a recurrent layer, in training on its inputs times its kernel, plus the bias.

    A cell with dropout, which may differ by gate, keeps the layer's own loop.

    Args:
        layer: recurrent layer, from `recurrent_layers_of`.
        inner_loop: the method `inner_loop` of the layer, which this function replaces.
        sequences: inputs of the layer, [batch, time, features].
        initial_state: initial states of the cell, as for `inner_loop`.
        mask: mask of the time steps, bools [batch, time], or a list of masks; None for none.
        training: whether the layer is called in training mode. Default: False.
    """
    cell = layer.cell
    if not training or cell.dropout or cell.recurrent_dropout:
        return inner_loop(sequences, initial_state, mask=mask, training=training)
    products = _add_bias(keras.ops.matmul(sequences, cell.kernel), _biases(cell)[0])
    step = functools.partial(_steps()[type(cell)], cell)
    with method_replaced(cell, "call", lambda call: step):
        return keras.layers.RNN.inner_loop(
            layer, products, initial_state, mask=_first(mask), training=training
        )


def _first(mask: Any) -> Any:
    """Return the first mask of several."""
    return mask[0] if tf.nest.is_nested(mask) else mask


def _simple_rnn(
    cell: Any, x: Tensor, states: Any, training: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Return `h' = activation(x + h U)`, where x is the input times the kernel, plus the bias."""
    h = tf.nest.flatten(states)[0]
    h = cell.activation(x + keras.ops.matmul(h, cell.recurrent_kernel))
    return h, [h]


def _lstm(cell: Any, x: Tensor, states: Any, training: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Return the step of an LSTM, where x is the input times the kernel, plus the bias.

    i, f, g, o = x + h U
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(c')
    """
    h, c = states
    sigmoid, tanh = cell.recurrent_activation, cell.activation
    i, f, g, o = keras.ops.split(x + keras.ops.matmul(h, cell.recurrent_kernel), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, [h, c]


def _gru(cell: Any, x: Tensor, states: Any, training: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Return the step of a GRU, where x is the input times the kernel, plus its bias.

        z = sigmoid(x_z + h U_z),  r = sigmoid(x_r + h U_r)
        h' = z h + (1 - z) tanh(x_h + r (h U_h))    with `reset_after`
        h' = z h + (1 - z) tanh(x_h + (r h) U_h)    without it

    With `reset_after` the products with U have a bias too.
    """
    h = tf.nest.flatten(states)[0]
    sigmoid, tanh = cell.recurrent_activation, cell.activation
    kernel = cell.recurrent_kernel
    x_z, x_r, x_h = keras.ops.split(x, 3, axis=-1)
    if cell.reset_after:
        of_h = _add_bias(keras.ops.matmul(h, kernel), _biases(cell)[1])
        h_z, h_r, h_h = keras.ops.split(of_h, 3, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        candidate = tanh(x_h + r * h_h)
    else:
        h_z, h_r = keras.ops.split(keras.ops.matmul(h, kernel[:, : 2 * cell.units]), 2, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        candidate = tanh(x_h + keras.ops.matmul(r * h, kernel[:, 2 * cell.units :]))
    h = z * h + (1 - z) * candidate
    return h, [h]


def _biases(cell: Any) -> tuple[Any, Any]:
    """Return the biases of the products of inputs and of states; None for a missing one."""
    if cell.bias is not None and getattr(cell, "reset_after", False):  # a GRU with both
        return cell.bias[0], cell.bias[1]
    return cell.bias, None


def _add_bias(x: Tensor, bias: Any) -> Tensor:
    """Return x + bias; x if there is none."""
    return x if bias is None else keras.ops.add(x, bias)


def _inner_loops() -> list[Callable[..., Any]]:
    """Return Keras's implementations of the loop over time steps."""
    layers = keras.layers
    return [layer.inner_loop for layer in (layers.RNN, layers.SimpleRNN, layers.LSTM, layers.GRU)]


def _steps() -> dict[type, Callable[..., tuple[Tensor, list[Tensor]]]]:
    """Return the steps by the cell's class; subclasses may compute another."""
    layers = keras.layers
    return {layers.SimpleRNNCell: _simple_rnn, layers.LSTMCell: _lstm, layers.GRUCell: _gru}
