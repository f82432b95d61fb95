"""Random numbers that are a function of a key, one key per example.

A key is two int64. Keys of examples follow from (seed, epoch, example), so that what is drawn for
an example depends neither on the batch it is in nor on the others in it. All keys of a batch are
used at once: `tf.random.stateless_uniform` takes one seed a call.

    key_0, key_1 = mix(s + g), mix(s + 2 g)    with s from (seed, epoch, example), g = 2^64 / golden

`mix` is the output function of SplitMix64, whose n-th output from the state s is mix(s + n g).

References:
    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from trainlib.core.types import Tensor

GAMMA = 0x9E3779B97F4A7C15
"""The increment of SplitMix64."""
PACKET = 16
"""Multiple of the values that a processor's instruction computes at once."""


def splitmix64(state: Tensor, index: Tensor) -> Tensor:
    """Return the outputs of SplitMix64 at some positions, from 0, of the sequences of states.

    Args:
        state: states, uint64 of any shape.
        index: positions, uint64 of a shape that broadcasts with it.
    """
    z = state + (index + _uint64(1)) * _uint64(GAMMA)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = _xor_shift(z, shift) * _uint64(factor)
    return _xor_shift(z, 31)


def example_keys(seed: Tensor, epoch: Tensor, example: Tensor) -> Tensor:
    """Return the keys of examples in an epoch, int64 [n, 2].

    Args:
        seed: integer scalar.
        epoch: integer scalar, at least 0.
        example: integers [n], at least 0: the index of each example.

    Example:
        >>> from trainlib.core.random import example_keys
        >>> a, b = (example_keys(0, 1, tf.constant(ids)) for ids in ([5, 6], [6]))
        >>> a.shape, bool(tf.reduce_all(a[1] == b[0]))
        (TensorShape([2, 2]), True)
    """
    seed, epoch, example = (_bits(tf.convert_to_tensor(x)) for x in (seed, epoch, example))
    return _as_keys(splitmix64(splitmix64(seed, epoch), example))


def fold_in(key: Tensor, number: int) -> Tensor:
    """Return other keys of the same examples: each number gives independent ones.

    Args:
        key: int64 [n, 2].
        number: integer from 0 to 2^64 - 1.

    Example:
        >>> from trainlib.core.random import example_keys, fold_in
        >>> key = example_keys(0, 0, tf.range(3))
        >>> fold_in(key, 7).shape
        TensorShape([3, 2])
    """
    return _as_keys(splitmix64(_state(key), _uint64(number)))


def random_bits(key: Tensor, count: int) -> Tensor:
    """Return 64 random bits per value, uint64 [n, count].

    Args:
        key: int64 [n, 2].
        count: values per example.
    """
    positions = tf.cast(tf.range(count, dtype=tf.int64), tf.uint64)
    return splitmix64(_state(key)[:, tf.newaxis], positions)


def uniform(key: Tensor, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return numbers that are uniform in [low, high), float32 [n, count].

    Args:
        key: int64 [n, 2].
        count: numbers per example.
        low, high: the bounds. Default: 0 and 1.

    Example:
        >>> from trainlib.core.random import example_keys, uniform
        >>> u = uniform(example_keys(0, 0, tf.range(1000)), 2)
        >>> u.shape, 0.45 < float(tf.reduce_mean(u)) < 0.55
        (TensorShape([1000, 2]), True)
    """
    bits = random_bits(key, -(-count // 2))
    halves = [_unit(half, 24) for half in (bits, tf.bitwise.left_shift(bits, _uint64(32)))]
    return low + (high - low) * tf.concat(halves, 1)[:, :count]


def integers(key: Tensor, bound: Tensor) -> Tensor:
    """Return an integer per example that is uniform in [0, bound), int64 [n].

    Args:
        key: int64 [n, 2].
        bound: integer scalar, at least 1.

    Example:
        >>> from trainlib.core.random import example_keys, integers
        >>> sorted(set(integers(example_keys(0, 0, tf.range(99)), 3).numpy().tolist()))
        [0, 1, 2]
    """
    unit = _unit(random_bits(key, 1)[:, 0], 53, "float64")
    return tf.cast(unit * tf.cast(bound, tf.float64), tf.int64)


def normal(key: Tensor, count: int) -> Tensor:
    """Return standard normal numbers, float32 [n, count], by the Box-Muller transform.

    Args:
        key: int64 [n, 2].
        count: numbers per example.

    Example:
        >>> from trainlib.core.random import example_keys, normal
        >>> z = normal(example_keys(0, 0, tf.range(100)), 50)
        >>> z.shape, abs(float(tf.reduce_mean(z))) < 0.1
        (TensorShape([100, 50]), True)
    """
    pairs = -(-count // 2)
    bits = random_bits(key, pairs)
    low = tf.bitwise.bitwise_and(bits, _uint64(2**32 - 1))
    u = (tf.cast(tf.bitwise.right_shift(bits, _uint64(32)), tf.float32) + 0.5) * 2.0**-32
    angle = (2 * math.pi * 2.0**-32) * tf.cast(low, tf.float32)
    radius = tf.sqrt(-2 * elementwise(tf.math.log, tf.minimum(u, 1.0)))
    both = [radius * elementwise(f, angle) for f in (tf.cos, tf.sin)]
    return tf.concat(both, 1)[:, :count]


def beta(key: Tensor, alpha: float) -> Tensor:
    """Return a number per example from the beta distribution with alpha = beta, float64 [n].

    It is G1 / (G1 + G2), for two gamma numbers by the method of Marsaglia and Tsang; the last of
    eight candidates is taken if all are rejected, once in 10^10 numbers.

    Args:
        key: int64 [n, 2].
        alpha: shape, above 0.

    References:
        Marsaglia and Tsang 2000, "A simple method for generating gamma variables".

    Example:
        >>> from trainlib.core.random import beta, example_keys
        >>> x = beta(example_keys(0, 0, tf.range(2000)), 0.2)
        >>> bool(tf.reduce_all((x >= 0) & (x <= 1))), 0.45 < float(tf.reduce_mean(x)) < 0.55
        (True, True)
    """
    first, second = (_log_gamma_number(fold_in(key, k), alpha) for k in (0, 1))
    return elementwise(tf.sigmoid, first - second)


def elementwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return a function of each value, in the same bits wherever in the tensor the value is.

    The last values of a tensor, which do not fill an instruction of the processor, are computed by
    other code, which rounds sines, logarithms and the like in another way: they are filled up.

    Args:
        function: a function of a tensor that acts on each value by itself.
        x: tensor of any shape.
    """
    flat = tf.reshape(x, [-1])
    size = tf.size(flat)
    filled = tf.pad(flat, [[0, -size % PACKET]], constant_values=1)
    return tf.reshape(function(filled)[:size], tf.shape(x))


def _log_gamma_number(key: Tensor, alpha: float, candidates: int = 8) -> Tensor:
    """Return the logarithm of a number per example from the gamma distribution, float64 [n]."""
    boosted = alpha + 1 if alpha < 1 else alpha
    d = boosted - 1 / 3
    z = tf.cast(normal(fold_in(key, 0), candidates), tf.float64)
    draws = [_unit(random_bits(fold_in(key, k), candidates), 53, "float64") for k in (1, 2)]
    u, w = (elementwise(tf.math.log, x + 2.0**-54) for x in draws)
    root = 1 + z / math.sqrt(9 * d)
    v = root * root * root
    log_v = elementwise(tf.math.log, tf.maximum(v, 1e-300))
    accepted = (v > 0) & (u < 0.5 * z * z + d * (1 - v + log_v))
    last = tf.range(candidates) == candidates - 1
    first = tf.argmax(accepted | last, 1, output_type=tf.int32)
    log_number = math.log(d) + tf.gather(log_v, first, batch_dims=1)
    return log_number + w[:, 0] / alpha if alpha < 1 else log_number


def _unit(bits: Tensor, precision: int, dtype: str = "float32") -> Tensor:
    """Return the highest bits as numbers in [0, 1)."""
    high = tf.bitwise.right_shift(bits, _uint64(64 - precision))
    return tf.cast(tf.bitcast(high, tf.int64), dtype) * 2.0**-precision


def _state(key: Tensor) -> Tensor:
    """Return one uint64 for both numbers of each key, [n]."""
    first, second = tf.unstack(tf.bitcast(key, tf.uint64), axis=1)
    return splitmix64(first, second)


def _as_keys(state: Tensor) -> Tensor:
    """Return the first two outputs of each state as a key."""
    outputs = [splitmix64(state, _uint64(k)) for k in (0, 1)]
    return tf.bitcast(tf.stack(outputs, axis=-1), tf.int64)


def _xor_shift(z: Tensor, shift: int) -> Tensor:
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _uint64(shift)))


def _bits(x: Tensor) -> Tensor:
    return tf.bitcast(tf.cast(x, tf.int64), tf.uint64)


def _uint64(x: int) -> Tensor:
    return tf.constant(x, tf.uint64)
