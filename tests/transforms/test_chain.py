"""`chain`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS

import trainlib as tl


def test_each_member_gets_the_updates_of_the_one_before():
    params = grads = tf.constant([8.0])
    for parts, expected in {
        (tl.clip_by_value(1.0), tl.sgd(0.5)): -0.5,
        (tl.sgd(0.5), tl.clip_by_value(1.0)): -1.0,
        (tl.sgd(0.5), tl.sgd(0.5), tl.sgd(0.5)): -1.0,
        (tl.chain(tl.clip_by_value(4.0), tl.sgd(0.5)), tl.chain(tl.sgd(0.25))): 0.5,
    }.items():
        tx = tl.chain(*parts)
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates.numpy() == [expected]


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_state_of_a_chain_is_the_tuple_of_its_members_states(execution):
    params = grads = {"a": tf.constant([1.0, 2.0])}
    parts = [tl.clip_by_value(1.5), tl.sgd(0.5, momentum=0.5), tl.adam(0.5)]
    tx = tl.chain(*parts)
    states = [part.init(params) for part in parts]
    update, state = EXECUTIONS[execution](tx.update), tx.init(params)
    tf.nest.assert_same_structure(state, tuple(states))
    for _ in range(3):
        updates, state = update(grads, state, params)
        by_hand = grads
        for i, part in enumerate(parts):
            by_hand, states[i] = part.update(by_hand, states[i], params)
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-21),
            (updates, state),
            (by_hand, tuple(states)),
        )


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="chain needs at least one"):
        tl.chain()


@pytest.mark.parametrize("part", [tl.sgd, [tl.sgd()], None])
def test_members_that_are_not_optimizers_are_refused(part):
    with pytest.raises(TypeError, match="a member of chain must be an Optimizer"):
        tl.chain(tl.clip_by_value(1.0), part)


def test_the_state_of_another_chain_is_refused():
    params = tf.constant([1.0])
    longer = tl.chain(tl.sgd(), tl.sgd())
    with pytest.raises(ValueError, match="a chain of 1 members needs .* got 2"):
        tl.chain(tl.sgd()).update(params, longer.init(params), params)
