"""The policies for a step whose loss or gradients are not finite: it changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.processes import ROOT, output_of
from helpers.trainers import TrainerPool

import trainlib as tl
from trainlib.callbacks import Callback, NonFiniteError, SaveEvery, SetHyperparams
from trainlib.report import columns
from trainlib.training.functional_model import FunctionalModel

BATCHES, ROWS = 14, 6
RNG = np.random.default_rng(0)
GOOD = [
    (RNG.normal(size=(ROWS, 5)).astype("float32"), RNG.integers(0, 3, ROWS)) for _ in range(BATCHES)
]
PARTIAL = [*GOOD[:-1], tuple(a[:-2] for a in GOOD[-1])]
"""The same batches, the last one partial, for which another program is traced."""
SOAK = pytest.mark.soak
EXECUTIONS = ["graph", *(pytest.param(x, marks=SOAK) for x in ("xla", "xla_update"))]
PLACES = {"first": 0, "within a call": 8, "last and partial": BATCHES - 1}
SOME_PLACES = [x if x == "within a call" else pytest.param(x, marks=SOAK) for x in PLACES]


def with_bad(*places, good=GOOD):
    batches = list(good)
    for place in places:
        x, y = good[place]
        x = x.copy()
        x[-1, 2] = np.nan
        batches[place] = x, y
    return batches


def without(*places, good=GOOD):
    return [batch for i, batch in enumerate(good) if i not in places]


def net(dropout):
    keras.utils.set_random_seed(0)
    noise = [keras.layers.Dropout(0.25, name="dropout")] if dropout else []
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, activation="tanh", use_bias=False, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            *noise,
            keras.layers.Dense(3, activation="softmax", use_bias=False, name="outputs"),
        ]
    )


def momentum_and_ema():
    return tl.chain(tl.sgd(2**-5, momentum=0.75), tl.ema(0.9))


def new_trainer(nonfinite, optimizer=None, execution="graph", **options):
    return tl.Trainer(
        net(dropout=execution == "graph"),
        "sparse_categorical_crossentropy",
        optimizer or momentum_and_ema(),
        execution=execution,
        nonfinite=nonfinite,
        metrics=["accuracy"],
        seconds_per_call=1e9,  # a call of one step, then calls of as many as there are
        **options,
    )


POOL = TrainerPool(new_trainer)


@pytest.fixture
def make():
    """`make("skip", execution="graph")`: a trainer with a policy, in its first state."""
    with POOL.lending() as lend:
        yield lend


def bits(trainer):
    """The bits of the state without the loss scale and the counters of skipped steps."""
    state = trainer.state._replace(loss_scale=(), finite_guard=())
    return [x.numpy().tobytes() for x in tf.nest.flatten(state)]


def results(history):
    hidden = ("seconds", "skipped_steps", "overflowed", "loss_scale")
    return [{k: x for k, x in line.items() if k not in hidden} for line in history]


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_finite_run_has_the_same_bits_and_results_with_every_policy(execution, make):
    """XLA fuses a guarded step differently, so that it rounds differently."""
    runs, params = [], []
    for policy in ("none", "skip", "stop"):
        trainer = make(policy, execution=execution)
        runs.append((results(trainer.fit(GOOD, epochs=2)), bits(trainer)))
        params.append(tf.nest.flatten(trainer.state.params))
    assert runs[1] == runs[2]
    if execution == "graph":
        assert runs[0] == runs[1]
    for a, b in zip(params[0], params[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("place", SOME_PLACES)
def test_a_skipped_batch_has_no_effect(place, execution, make):
    k, good = PLACES[place], PARTIAL if "partial" in place else GOOD
    skipping, other = (make("skip", execution=execution) for _ in range(2))
    history = skipping.fit(with_bad(k, good=good), epochs=2)
    expected = other.fit(without(k, good=good), epochs=2)
    assert bits(skipping) == bits(other)
    assert results(history) == results(expected)
    assert [line["skipped_steps"] for line in history] == [1, 2]
    assert history[0]["overflowed"] == "the loss"


def test_without_a_guard_the_batch_has_an_effect(make):
    trainer, other = make("none"), make("none")
    history = trainer.fit(with_bad(8), epochs=1)
    other.fit(without(8), epochs=1)
    assert bits(trainer) != bits(other)
    assert np.isnan(history[0]["loss"])


OPTIMIZERS = {
    "accumulate": (lambda: tl.accumulate(momentum_and_ema(), 3), {}),
    "mixed_float16": (
        lambda: tl.adam(2**-5),
        {"precision": "mixed_float16", "loss_scale": tl.dynamic_loss_scale(1.0, 10**6)},
    ),
    "static scale": (lambda: tl.adam(2**-5), {"loss_scale": tl.static_loss_scale(64.0)}),
}


@pytest.mark.parametrize(
    "name", ["accumulate", *(pytest.param(x, marks=SOAK) for x in OPTIMIZERS if x != "accumulate")]
)
@pytest.mark.parametrize("policy", ["skip", pytest.param("stop", marks=SOAK)])
def test_accumulation_and_loss_scales_follow_the_policy(policy, name, make):
    optimizer, options = OPTIMIZERS[name]
    execution = "xla" if "precision" in options else "graph"
    trainer, other = (make(policy, optimizer(), execution, **options) for _ in range(2))
    if policy == "skip":
        trainer.fit(with_bad(4), epochs=1)
        other.fit(without(4), epochs=1)
    else:
        with pytest.raises(NonFiniteError, match=r"^step 5 \(batch 5 of 14 in epoch 1\): the loss"):
            trainer.fit(with_bad(4), epochs=1)
        # Not to the end of an epoch, which would close a window of accumulation.
        other.fit(lambda: iter(GOOD), steps_per_epoch=BATCHES, callbacks=[StopAfter(4)])
    assert bits(trainer) == bits(other)


class StopAfter(Callback):
    def __init__(self, batches):
        self.every = batches

    def on_train_batch_end(self, status):
        return tl.callbacks.Stop() if status.global_batch == self.every else None


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("place", SOME_PLACES)
def test_a_run_stops_with_the_state_before_the_step_and_an_error_that_names_it(
    place, execution, make
):
    k, good = PLACES[place], PARTIAL if "partial" in place else GOOD
    trainer, other = make("stop", execution=execution), make("skip", execution=execution)
    other.fit(good)
    trainer.fit(good)
    of_all = BATCHES + k + 1
    message = (
        f"step {of_all} (batch {k + 1} of {BATCHES} in epoch 1): the loss is not finite; "
        "the state is that before it"
    )
    with pytest.raises(FloatingPointError) as raised:
        trainer.fit(with_bad(k, good=good))
    assert (str(raised.value), raised.value.batch) == (message, of_all)
    if k:
        other.fit(good[:k])
    assert bits(trainer) == bits(other)
    assert trainer.batches_seen == of_all


def test_a_trainer_can_continue_after_the_step_that_stopped_it(make):
    trainer, other = make("stop"), make("none")
    with pytest.raises(NonFiniteError):
        trainer.fit(with_bad(3))
    trainer.fit(GOOD[4:])
    other.fit(without(3))
    assert bits(trainer) == bits(other)


def root(params, model_state, x, training):
    """The gradient of b is not finite where x is 0; the loss is."""
    return tl.ModelOutput(x @ params["a"] + tf.sqrt(x[:, :1] * params["b"]), model_state)


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_the_gradient_is_named_by_its_path(execution):
    params = {"a": tf.ones([2, 1]), "b": tf.ones([])}
    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    x[5], y[5] = 0, 1
    trainer = tl.Trainer(
        FunctionalModel(root, params, ()),
        "mean_squared_error",
        tl.sgd(0.01),
        execution=execution,
        nonfinite="stop",
    )
    with pytest.raises(NonFiniteError, match="^step 3 .*: the gradient of b is not finite"):
        trainer.fit((x, y), batch_size=2, shuffle=False)


def test_an_infinite_loss_with_finite_gradients_stops_too():
    def loss(y_true, y_pred):
        return tl.losses.mean_squared_error(y_true, y_pred) + y_true[:, 0]

    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    y[7] = 1e30
    params = {"a": tf.ones([2, 1]), "b": tf.ones([])}
    trainer = tl.Trainer(FunctionalModel(root, params, ()), loss, tl.sgd(0.0), nonfinite="stop")
    with pytest.raises(NonFiniteError, match="^step 4 .*: the loss is not finite"):
        trainer.fit((x, y), batch_size=2, shuffle=False)


def test_a_dynamic_scale_is_lowered_to_its_floor_before_a_run_stops(make):
    scaling = tl.dynamic_loss_scale(8.0)
    trainer = make("stop", loss_scale=scaling)
    trainer.fit(with_bad(2, 5, 6))
    assert trainer.state.loss_scale.scale.numpy() == 1
    with pytest.raises(NonFiniteError, match=r"^step 17 "):
        trainer.fit(with_bad(2))
    assert trainer.state.step.numpy() == BATCHES - 3 + 2


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_run_rolls_back_and_continues_after_the_step(execution, tmp_path, make):
    trainer, other = make("roll_back", execution=execution), make("skip", execution=execution)
    history = trainer.fit(
        with_bad(8), callbacks=[SaveEvery(steps=4)], checkpoints=tmp_path / "checkpoints"
    )
    expected = [*GOOD[:8], *GOOD[9:]]
    other.fit(expected)
    assert bits(trainer) == bits(other)
    assert history[0]["skipped_steps"] == 1
    trainer = make("roll_back", execution=execution)
    history = trainer.fit(
        with_bad(10), callbacks=[SaveEvery(steps=8)], checkpoints=tmp_path / "others"
    )
    other = make("skip", execution=execution)
    expected = other.fit([*GOOD[:8], *GOOD[11:]])
    assert bits(trainer) == bits(other)
    assert trainer.batches_seen == BATCHES
    assert results(history) == results(expected)  # without the batches that were left out


@pytest.mark.parametrize(
    ("places", "every", "message"),
    [
        ((2,), 4, r"^step 3 \(.*\): the loss is not finite; no checkpoint to roll back to$"),
        ((5, 7), 5, r"^step 8 \(.*did not help: epoch_0001_batch_000005 was restored alr"),
    ],
)
def test_a_rollback_to_the_same_checkpoint_ends_the_run(places, every, message, tmp_path, make):
    with pytest.raises(NonFiniteError, match=message):
        make("roll_back").fit(
            with_bad(*places), callbacks=[SaveEvery(steps=every)], checkpoints=tmp_path / "c"
        )


def test_an_unknown_policy_is_refused(make):
    with pytest.raises(ValueError, match="unknown nonfinite 'halt'"):
        make("halt")


def nan_at(update):
    """An optimizer that makes NaN of the finite gradients of an update, counted from 1."""

    def apply(grads, state, params):
        factor = tf.where(state == update - 1, np.nan, -0.01)
        return tf.nest.map_structure(lambda g: tf.cast(factor, g.dtype) * g, grads), state + 1

    return tl.Optimizer(lambda params: tf.zeros([], tf.int64), apply)


BATCH_OF_ONES = np.ones((6, 2), "float32"), np.zeros((6, 1), "float32")
"""The examples of an epoch of three steps."""


def trainer_with_nan(policy, update):
    """A trainer whose parameters are NaN after an update."""
    model = FunctionalModel(root, {"a": tf.ones([2, 1]), "b": tf.ones([])}, ())
    options = {"nonfinite": policy, "execution": "graph"}
    return tl.Trainer(model, "mean_squared_error", nan_at(update), **options)


def error_with_nan(policy, update, epochs=1, **options):
    """The error of a run whose parameters are NaN after an update, of three in an epoch."""
    with pytest.raises(NonFiniteError) as raised:
        trainer_with_nan(policy, update).fit(BATCH_OF_ONES, batch_size=2, epochs=epochs, **options)
    return str(raised.value)


@pytest.mark.parametrize("policy", ["epoch", "skip", "stop"])
def test_a_parameter_that_the_last_update_made_nan_of_finite_gradients_is_an_error(policy):
    assert error_with_nan(policy, update=3) == "the parameter a is not finite after epoch 1"


def test_a_parameter_that_an_update_made_nan_of_finite_gradients_ends_the_run():
    assert error_with_nan("epoch", update=2) == "the loss of epoch 1 is not finite"
    skipping = error_with_nan("skip", update=2, epochs=9)  # the first epoch has a loss
    assert skipping == "the parameter a is not finite after epoch 2"
    stopping = error_with_nan("stop", update=2, epochs=9)
    found = "the parameter a is not finite since an earlier update; the state is that before it"
    assert stopping == f"step 3 (batch 3 of 3 in epoch 1): {found}"


@pytest.mark.parametrize(("update", "every", "left"), [(4, 2, 3), (6, 5, 5), (6, 3, 3)])
def test_a_parameter_that_is_nan_is_rolled_back_to_a_checkpoint_without(
    update, every, left, tmp_path
):
    """Each run ends with an update less than the one that makes NaN, or with a checkpoint."""
    trainer = trainer_with_nan("roll_back", update)
    options = {"callbacks": [SaveEvery(steps=every)], "checkpoints": tmp_path / "c"}
    trainer.fit(BATCH_OF_ONES, batch_size=2, epochs=2, **options)
    assert int(trainer.state.step) == left
    assert all(np.isfinite(x).all() for x in trainer.state.params.values())


def test_a_checkpoint_with_nan_is_none_to_roll_back_to(tmp_path):
    options = {"callbacks": [SaveEvery(steps=2)], "checkpoints": tmp_path / "c"}
    error = error_with_nan("roll_back", update=2, **options)
    assert error.endswith("since an earlier update; no checkpoint to roll back to")


def test_without_a_policy_the_parameters_are_not_looked_at():
    trainer = trainer_with_nan("none", update=1)
    trainer.fit(BATCH_OF_ONES)
    assert np.isnan(trainer.state.params["a"]).all()


ON_REPLICAS = """
import json, sys
import numpy as np
import trainlib as tl
tl.mirrored(2)
import test_nonfinite as t

execution = sys.argv[1]
found = {}
on_two = {"strategy": "mirrored", "replicas": 2, "execution": execution}
def copies(trainer):
    leaves = t.tf.nest.flatten(trainer.context.programs.variables)
    return all(len({v.numpy().tobytes() for v in x.values}) == 1 for x in leaves)
skipping, other = t.new_trainer("skip", **on_two), t.new_trainer("skip", **on_two)
history, expected = skipping.fit(t.with_bad(8)), other.fit(t.without(8))
found["skip"] = t.bits(skipping) == t.bits(other) and t.results(history) == t.results(expected)
found["agree"] = copies(skipping)
stopping, other = t.new_trainer("stop", **on_two), t.new_trainer("skip", **on_two)
try:
    stopping.fit(t.with_bad(8))
except FloatingPointError as error:
    found["error"] = str(error)
other.fit(t.GOOD[:8])
found["stop"] = t.bits(stopping) == t.bits(other) and copies(stopping)
print(json.dumps(found))
"""


@pytest.mark.soak
@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_all_replicas_skip_a_step_that_is_not_finite_on_the_second(execution):
    modules = [ROOT, ROOT / "tests", Path(__file__).parent]
    path = os.pathsep.join(map(str, modules))
    out = output_of("-c", ON_REPLICAS, execution, PYTHONPATH=path, TF_CPP_MIN_LOG_LEVEL="3")
    found = json.loads(out.splitlines()[-1])
    assert found.pop("error").startswith("step 9 (batch 9 of 14 in epoch 1): the loss is not fin")
    assert found == {"skip": True, "agree": True, "stop": True}


def test_an_epoch_of_skipped_steps_has_no_results_and_is_never_the_best(make, tmp_path):
    """The first epoch is bad, the second good, the third bad again."""
    bad = with_bad(*range(BATCHES))
    epochs = [bad, GOOD, bad]
    stopping = tl.callbacks.EarlyStopping("loss", patience=3, restore_best_weights=True)
    best = tl.callbacks.SaveBest("loss")
    plateau = tl.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5)
    logs = [
        tl.callbacks.JSONLLogger(tmp_path / "metrics.jsonl"),
        tl.callbacks.CSVLogger(tmp_path / "metrics.csv"),
    ]
    trainer = make("skip", tl.inject_hyperparams(tl.sgd)(2**-5), norms=True)
    source = (batch for epoch in epochs for batch in epoch)
    history = trainer.fit(
        source,
        steps_per_epoch=BATCHES,
        epochs=3,
        validation_data=GOOD,
        callbacks=[stopping, best, plateau, *logs],
        checkpoints=tmp_path / "checkpoints",
    )
    names = ("loss", "accuracy", "gradient_norm", "update_norm")
    for k, line in enumerate(history):
        assert [np.isnan(line[name]) for name in names] == [k != 1] * 4
        assert np.isfinite(line["val_loss"])
    assert int(stopping.state.best_epoch) == int(best.state.best_epoch) == 2
    assert float(stopping.state.best) == history[1]["loss"]
    assert [line["learning_rate"] for line in history] == [2**-5, 2**-6, 2**-6]
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in written] == [None, history[1]["loss"], None]
    assert columns.best_epoch(written, "loss").epoch == 2
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].split(",")[2] == "nan"


def test_a_run_of_skipped_steps_is_stopped_for_want_of_a_value(make, capsys):
    bad = with_bad(*range(BATCHES))
    stopping = tl.callbacks.EarlyStopping("loss", patience=2)
    make("skip").fit(bad, epochs=5, callbacks=[stopping])
    assert capsys.readouterr().out == "stopped after epoch 2: loss has had no value for 2 epochs\n"


def test_the_progress_of_an_epoch_of_skipped_steps_has_no_loss(make):
    seen = []

    class Watch(Callback):
        every = 5

        def on_train_batch_end(self, status):
            seen.append(status.metrics()["loss"])

    make("skip").fit(with_bad(*range(7)), callbacks=[Watch()])
    assert np.isnan(seen[0]) and np.isfinite(seen[-1])


def test_examples_without_weight_are_no_skipped_steps(make):
    x, y = GOOD[0]
    history = make("none").fit([(x, y, np.zeros(len(y), "float32"))])
    assert history[0]["loss"] == 0.0


def test_an_epoch_in_which_a_loss_scale_is_found_does_not_end_the_run(make):
    """Under the policy "epoch" a run ends where no lower scale is left to try."""
    bad = with_bad(*range(BATCHES))
    trainer = make("epoch", loss_scale=tl.dynamic_loss_scale(initial=2.0**20))
    history = trainer.fit(bad)
    assert np.isnan(history[0]["loss"]) and history[0]["skipped_steps"] == BATCHES
    with pytest.raises(NonFiniteError, match="the loss of epoch 1 is not finite"):
        trainer.fit(bad)


def test_a_run_whose_steps_the_lowest_loss_scale_skips_ends():
    """The loss is finite, the gradients are not."""
    model = FunctionalModel(root, {"a": tf.ones([2, 1]), "b": tf.ones([])}, ())
    data = np.zeros((6, 2), "float32"), np.ones((6, 1), "float32")
    scaling = tl.static_loss_scale(1.0)
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.01), loss_scale=scaling)
    with pytest.raises(NonFiniteError, match="the loss of epoch 1 is not finite"):
        trainer.fit(data, batch_size=2)


def test_a_rate_that_was_reduced_stays_reduced_after_a_rollback(tmp_path):
    class ReduceOnce(Callback):
        every = 6

        def on_train_batch_end(self, status):
            return SetHyperparams({"learning_rate": 0.125}) if status.global_batch == 6 else None

    trainer = new_trainer("roll_back", tl.inject_hyperparams(tl.sgd)(0.5))
    callbacks = [SaveEvery(steps=4), ReduceOnce()]
    history = trainer.fit(with_bad(6), callbacks=callbacks, checkpoints=tmp_path / "c")
    assert history[-1]["skipped_steps"] > 0 and history[-1]["learning_rate"] == 0.125
