"""`lookahead`."""

from __future__ import annotations

import pytest
import tensorflow as tf
from helpers.exact import B1, B2

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import RUNS, run_optimizer


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("sync_period, slow_step_size", [(1, 0.5), (5, 0.5), (4, 0.8)])
def test_lookahead_agrees_with_optax(problem, run_optax, run, sync_period, slow_step_size):
    ours = run_optimizer(
        lambda learning_rate: tl.lookahead(
            tl.adam(0.01, B1, B2, convention="optax"), sync_period, slow_step_size
        ),
        problem,
        run,
    )

    def make(optax):
        """Return Optax's lookahead as a plain transformation, the slow weights in its state."""
        import jax

        tx = optax.lookahead(optax.adam(0.01, B1, B2), sync_period, slow_step_size)

        def init(params):
            pair = optax.LookaheadParams.init_synced(params)
            return tx.init(pair), params

        def update(grads, state, params):
            inner, slow = state
            updates, inner = tx.update(grads, inner, optax.LookaheadParams(params, slow))
            return updates.fast, (inner, jax.tree.map(lambda s, u: s + u, slow, updates.slow))

        return optax.GradientTransformation(init, update)

    assert difference(ours, run_optax(make, problem)).error < 1e-12


def test_two_periods_are_those_computed_by_hand():
    tx = tl.lookahead(tl.sgd(1.0), sync_period=2, slow_step_size=0.25)
    w = tf.constant(8.0, tf.float64)
    state, path = tx.init(w), []
    for g in (1.0, 3.0, 2.0, 2.0):
        updates, state = tx.update(tf.constant(g, tf.float64), state, w)
        w = tl.apply_updates(w, updates)
        path.append(float(w))
    assert path == [7.0, 7.0, 5.0, 6.0]
    assert (float(state.slow), int(state.step), int(state.inner.step)) == (6.0, 4, 4)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="sync_period must be at least 1, got 0"):
        tl.lookahead(tl.sgd(), 0)
    with pytest.raises(ValueError, match="slow_step_size must be at least 0 and at most 1"):
        tl.lookahead(tl.sgd(), 2, 1.5)
    with pytest.raises(TypeError, match="fast of lookahead must be an Optimizer"):
        tl.lookahead(tl.sgd)
