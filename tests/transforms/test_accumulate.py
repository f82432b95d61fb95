"""`accumulate`: micro-batches make the update of one batch, however they are divided."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2
from helpers.executions import soak_except

import trainlib as tl
from trainlib.losses import mean_squared_error
from trainlib.training.functional_model import FunctionalModel
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import RUNS, run_optimizer

CUTS = [(5, 1, 2), (2, 2, 4), (3, 3, 2)]


def apply_fn(params, model_state, x, training):
    return tl.ModelOutput(tf.linalg.matvec(x, params["kernel"])[:, None] + params["bias"])


def start():
    return {"kernel": tf.constant([0.5, -1.0, 2.0], tf.float64), "bias": tf.zeros([], tf.float64)}


def batches(count):
    rng = np.random.default_rng(0)
    return [
        (rng.normal(size=(8, 3)), rng.normal(size=(8, 1)), rng.uniform(0.1, 2, size=8))
        for _ in range(count)
    ]


def state_of(tx):
    return tl.init_state(start(), (), tx)


def make_step(tx):
    return tf.function(
        tl.train_step(tl.StepConfig(apply_fn, mean_squared_error, tx, regularizer=tl.l2(0.1))),
        autograph=False,
    )


def schedule():
    return tl.exponential_decay(0.1, 1, 0.5, dtype="float64")


OPTIMIZERS = {
    "sgd": lambda: tl.sgd(schedule(), momentum=0.9),
    "adamw": lambda: tl.adamw(schedule(), weight_decay=0.1),
    "clipped": lambda: tl.chain(tl.clip_by_global_norm(0.2), tl.adam(schedule())),
    "averaged": lambda: tl.chain(tl.sgd(schedule()), tl.ema(0.9, overwrite_frequency=2)),
    "injected": lambda: tl.inject_hyperparams(tl.sgd)(schedule(), momentum=0.9),
}


@pytest.mark.parametrize("name", soak_except("clipped", "averaged", names=OPTIMIZERS))
def test_unequal_micro_batches_make_the_update_of_the_whole_batch(name):
    tx = OPTIMIZERS[name]()
    split = tl.accumulate(tx, every_k=3)
    whole_step, micro_step = make_step(tx), make_step(split)
    whole, cut = state_of(tx), state_of(split)
    for batch, sizes in zip(batches(3), CUTS, strict=True):
        whole, _ = whole_step(whole, batch)
        for piece in zip(*(np.split(part, np.cumsum(sizes)[:-1]) for part in batch), strict=True):
            cut, _ = micro_step(cut, tuple(map(tf.constant, piece)))
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(cut.params[name], whole.params[name], rtol=1e-12, atol=1e-14)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14),
        cut.opt_state.inner,
        whole.opt_state,
    )
    assert cut.opt_state.step == 3 and cut.opt_state.micro_step == 0


def test_no_bit_changes_between_updates():
    params = {"w": tf.constant([-0.0, 0.0, 1.0, np.nan], tf.bfloat16)}
    tx = tl.accumulate(tl.adamw(tl.constant_schedule(0.1), weight_decay=0.1), every_k=3)
    state = tx.init(params)
    for _ in range(2):
        updates, after = tx.update({"w": tf.ones([4], tf.bfloat16)}, state, params)
        moved = tl.apply_updates(params, updates)
        assert moved["w"].numpy().tobytes() == params["w"].numpy().tobytes()
        tf.nest.map_structure(np.testing.assert_array_equal, after.inner, state.inner)
        state = after
    updates, state = tx.update({"w": tf.ones([4], tf.bfloat16)}, state, params)
    assert state.step == state.inner.step == 1
    assert tf.reduce_all(tf.cast(updates["w"][:3], tf.float32) != 0)
    assert tf.reduce_all(state.grad_sum["w"] == 0) and state.weight_sum == 0


def leftover():
    tx = tl.accumulate(tl.adam(0.1), every_k=3)
    params = start()
    grads = tf.nest.map_structure(tf.ones_like, params)
    _, state = tx.update(grads, tx.init(params), params, weight=1.0)
    return tx, params, grads, state


def test_last_closes_the_window_with_the_weights_so_far():
    tx, params, grads, state = leftover()
    twice = tf.nest.map_structure(lambda g: 2 * g, grads)
    updates, state = tx.update(twice, state, params, weight=3.0, last=True)
    mean = tf.nest.map_structure(lambda g: 1.75 * g, grads)
    expected, inner = tl.adam(0.1).update(mean, tl.adam(0.1).init(params), params)
    tf.nest.map_structure(np.testing.assert_array_equal, updates, expected)
    tf.nest.map_structure(np.testing.assert_array_equal, state.inner, inner)
    assert state.micro_step == 0


def test_flush_makes_the_update_of_an_open_window_once():
    tx, params, grads, state = leftover()
    updates, state = tl.flush(tx, state, params)
    expected, _ = tl.adam(0.1).update(grads, tl.adam(0.1).init(params), params)
    tf.nest.map_structure(np.testing.assert_array_equal, updates, expected)
    updates, again = tl.flush(tx, state, params)
    assert all(not u.numpy().any() for u in updates.values())
    tf.nest.map_structure(np.testing.assert_array_equal, again, state)


def test_flush_works_in_a_chain_and_refuses_other_states():
    tx, params, grads, state = leftover()
    chained = tl.chain(tl.zero_nans(), tx)
    updates, _ = tl.flush(chained, ((), state), params)
    assert all(u.numpy().any() for u in updates.values())
    with pytest.raises(
        ValueError, match="flush needs the state of an optimizer with tl.accumulate"
    ):
        tl.flush(tl.adam(), tl.adam().init(params), params)


def test_a_window_of_weight_0_makes_no_update():
    tx = tl.accumulate(tl.adam(0.1), every_k=2)
    params, state = start(), tx.init(start())
    for _ in range(2):
        updates, state = tx.update(params, state, params, weight=0.0)
        assert all(not u.numpy().any() for u in updates.values())
    assert state.step == 0 and state.micro_step == 0 and state.inner.step == 0


@pytest.mark.parametrize(
    "wrap",
    [tl.chain, tl.apply_if_finite, tl.lookahead, "masked", "partition", "freeze", "sam"],
)
def test_wrappers_pass_the_weight_on(wrap):
    wraps = {
        "sam": lambda tx: tl.sam(tx, rho=0.0),
        "masked": lambda tx: tl.masked(tx, lambda path: True),
        "partition": lambda tx: tl.partition({"all": tx}, lambda path: "all"),
        "freeze": lambda tx: tl.freeze(tx, lambda path: False),
    }
    tx = wraps.get(wrap, wrap)(tl.accumulate(tl.sgd(1.0), every_k=2))
    params = {"w": tf.constant(0.0)}
    step = tl.train_step(
        tl.StepConfig(
            lambda params, _, x, training: tl.ModelOutput(params["w"] + 0 * x),
            mean_squared_error,
            tx,
        )
    )
    state = tl.init_state(params, (), tx)
    for rows, target in ((1, -1.0), (3, 1.0)):
        for _ in range(2 if wrap == "sam" else 1):  # An update of sam takes two calls.
            state, _ = step(state, (tf.zeros([rows, 1]), tf.fill([rows, 1], target)))
    np.testing.assert_allclose(state.params["w"], 1.0)


def test_none_gradients_stay_none():
    tx = tl.accumulate(tl.adamw(0.1), every_k=2)
    params, state = start(), tx.init(start())
    for _ in range(2):
        updates, state = tx.update(
            {"kernel": tf.ones([3], tf.float64), "bias": None}, state, params
        )
        assert updates["bias"] is None
    with pytest.raises(ValueError, match="every gradient is None"):
        tx.update({"kernel": None, "bias": None}, state, params)


def test_equal_weights_agree_with_optax(problem, run_optax):
    ours = run_optimizer(
        lambda learning_rate: tl.accumulate(
            tl.chain(tl.clip_by_global_norm(0.5), tl.adam(0.01, B1, B2, convention="optax")), 4
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.MultiSteps(
            optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01, B1, B2)),
            4,
            accumulator_dtype="float64",
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_eager_graph_and_xla_are_the_same(problem):
    paths = [
        run_optimizer(lambda learning_rate: tl.accumulate(tl.adamw(learning_rate), 4), problem, run)
        for run in RUNS
    ]
    assert difference(paths[0], paths[1]).error < 1e-15
    assert difference(paths[0], paths[2]).error < 1e-14


def test_windows_out_of_range_are_refused():
    for every_k, error in ((0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="every_k must be"):
            tl.accumulate(tl.adam(), every_k)


def test_trainer_closes_the_window_at_the_end_of_an_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 1))

    def train(tx, batch_size):
        model = FunctionalModel(apply_fn, start())
        trainer = tl.Trainer(model, mean_squared_error, tx, seed=3, execution="graph")
        trainer.fit((x, y), batch_size=batch_size, epochs=2)
        return trainer.state

    whole = train(tl.adam(0.1), batch_size=8)
    cut = train(tl.accumulate(tl.adam(0.1), every_k=2), batch_size=4)
    assert cut.opt_state.step == whole.opt_state.step == 4
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(cut.params[name], whole.params[name], rtol=1e-12)
