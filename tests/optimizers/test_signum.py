"""signSGD and Signum, where the comparison with peers does not cover them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0, 0.5], tf.float64)}


def test_signum_without_momentum_is_sign_sgd():
    grads = {"w": tf.constant([0.5, 0.0, -1e-30], tf.float64)}
    moved = [
        tx.update(grads, tx.init(PARAMS), PARAMS)[0]["w"]
        for tx in (tl.sign_sgd(0.5), tl.signum(0.5, momentum=0.0))
    ]
    np.testing.assert_array_equal(moved[0], [-0.5, 0.0, 0.5])
    np.testing.assert_array_equal(*moved)


def test_values_out_of_range_are_refused():
    with pytest.raises(ValueError, match="learning_rate must be at least 0"):
        tl.sign_sgd(learning_rate=-1)
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        tl.signum(momentum=1.0)


def test_the_default_momentum_equals_the_beta_of_optax():
    optax = pytest.importorskip("optax")
    theirs = inspect.signature(optax.signum).parameters["beta"].default
    assert inspect.signature(tl.signum).parameters["momentum"].default == theirs
