"""`add_decayed_weights`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.transforms import with_weight_decay
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import run_optimizer

B1, B2 = 0.875, 1 - 2.0**-10
"""Exact in float32, to which the peers round them."""

MASK = {"scalar": True, "vector": False, "wide": True}


def test_it_agrees_with_optax_before_and_after_the_optimizer(problem, run_optax):
    ours = run_optimizer(
        lambda learning_rate: tl.chain(
            tl.add_decayed_weights(0.1, MASK),
            tl.adam(1.0, B1, B2, convention="optax"),
            tl.scale(-1.0),
            tl.add_decayed_weights(0.2),
            tl.scale(-0.01),
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.chain(
            optax.add_decayed_weights(0.1, MASK),
            optax.scale_by_adam(B1, B2),
            optax.add_decayed_weights(0.2),
            optax.scale(-0.01),
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_before_an_optimizer_it_is_the_l2_form(problem):
    paths = [
        run_optimizer(lambda learning_rate, tx=tx: tx, problem)
        for tx in (
            tl.chain(tl.add_decayed_weights(0.1, MASK), tl.adam(0.01)),
            with_weight_decay(tl.adam(0.01), 0.01, 0.1, "l2", MASK),
        )
    ]
    assert difference(*paths).error == 0


def test_what_has_no_gradient_does_not_decay():
    params = {"a": tf.constant(2.0), "b": tf.constant(2.0)}
    tx = tl.add_decayed_weights(0.5, lambda path: path == "a")
    updates, _ = tx.update({"a": None, "b": tf.constant(1.0)}, (), params)
    assert updates == {"a": None, "b": tf.constant(1.0)}
    updates, _ = tx.update({"a": tf.constant(1.0), "b": None}, (), params)
    np.testing.assert_array_equal(updates["a"], 2)
    with pytest.raises(ValueError, match="weight_decay must be at least 0"):
        tl.add_decayed_weights(-0.1)
