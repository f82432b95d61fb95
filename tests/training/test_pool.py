"""A pool lends programs to one trainer after another, and keeps a bounded number of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.pool import SharedPrograms

X = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2)


def trainer(shared: SharedPrograms, start: float, width: int = 1) -> tl.Trainer:
    def line(params: dict[str, tf.Tensor], state: tuple[()], x: tf.Tensor, training: bool):
        return tl.ModelOutput(x @ params["w"], state)

    model = tl.FunctionalModel(line, {"w": tf.fill([2, width], start)})
    optimizer = tl.inject_hyperparams(tl.sgd)(0.1)
    return tl.Trainer(model, "mean_squared_error", optimizer, execution="graph", shared=shared)


def trained(shared: SharedPrograms, start: float) -> np.ndarray:
    made = trainer(shared, start)
    made.fit((X, X[:, :1]), batch_size=4, epochs=2, verbose=0)
    return made.state.params["w"].numpy()


def test_trainers_that_follow_each_other_trace_once() -> None:
    pool = tl.TrainerPool()
    found = []
    for start in (0.5, 2.0):
        with pool.lease("a line") as shared:
            found.append(trained(shared, start))
    assert (pool.misses, pool.traces) == (1, 1)
    np.testing.assert_array_equal(found[1], trained(SharedPrograms(), 2.0))


def test_programs_in_use_are_not_lent_again() -> None:
    pool = tl.TrainerPool()
    with pool.lease("a line") as first, pool.lease("a line") as second:
        assert first is not second


def test_programs_that_were_not_used_for_the_longest_time_are_dropped() -> None:
    pool = tl.TrainerPool(size=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        with pool.lease(key) as shared:
            trainer(shared, 0.0)
    assert (len(pool), pool.misses) == (2, 4)  # a, b, c, and b once more


def test_programs_without_a_key_and_those_never_made_are_not_kept() -> None:
    pool = tl.TrainerPool()
    with pool.lease(None) as shared:
        trainer(shared, 0.0)
    with pool.lease("never made"):
        pass
    assert len(pool) == 0


def test_a_state_of_another_shape_is_refused() -> None:
    shared = SharedPrograms()
    trainer(shared, 0.0)
    with pytest.raises(ValueError, match="the programs are for a tensor"):
        trainer(shared, 0.0, width=2)


def test_a_number_has_the_value_of_the_last_trainer() -> None:
    shared = SharedPrograms()
    number = shared.number("factor", 0.5)
    assert shared.number("factor", 0.25) is number
    assert number.numpy() == 0.25


@pytest.mark.parametrize("size", [0, 1.5])
def test_the_size_is_a_positive_integer(size: float) -> None:
    with pytest.raises((ValueError, TypeError), match="size"):
        tl.TrainerPool(size)  # type: ignore[arg-type]
