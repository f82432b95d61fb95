"""`adaptive_clip`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.ours import RUNS, run_ours
from trainlib.verify.problem import make_problem

SHAPES = {"scalar": (), "vector": (5,), "matrix": (3, 6), "row": (1, 4), "conv": (2, 3, 4, 5)}


@pytest.mark.parametrize("clipping", [0.02, 0.5])
def test_adaptive_clip_agrees_with_optax(run_optax, clipping):
    problem = make_problem(60, shapes=SHAPES)
    theirs = run_optax(
        lambda optax: optax.chain(optax.adaptive_grad_clip(clipping), optax.sgd(0.1)), problem
    )
    for run in RUNS:
        ours = run_ours(
            lambda learning_rate: tl.chain(tl.adaptive_clip(clipping), tl.sgd(0.1)), problem, run
        )
        assert difference(ours, theirs).error < 1e-12


def test_each_unit_is_clipped_by_its_own_weights():
    w = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    g = tf.constant([[30.0, 0.0], [40.0, 1.0]])
    updates, _ = tl.adaptive_clip(0.1, eps=0.5).update(g, (), w)
    np.testing.assert_allclose(updates, [[0.3, 0.0], [0.4, 0.05]], rtol=1e-6)


def test_small_gradients_pass_and_bad_ones_show():
    w, g = tf.constant([3.0, 4.0]), tf.constant([0.01, 0.02])
    np.testing.assert_array_equal(tl.adaptive_clip(0.1).update(g, (), w)[0], g)
    assert np.isnan(tl.adaptive_clip(0.1).update(g * np.nan, (), w)[0]).all()
    with pytest.raises(ValueError, match="clipping must be above 0, got 0"):
        tl.adaptive_clip(0.0)
