"""The replay of a step: the state and the batch of the run, and every tensor that it computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.trainers import TrainerPool

import trainlib as tl
from trainlib.callbacks import NonFiniteError, ReduceLROnPlateau, SaveEvery
from trainlib.step.train import train_step
from trainlib.training.replay import find_step, replay_step, trace_step
from trainlib.training.tensor_summary import first_nonfinite_tensor, format_table

SIZE, ROWS = 34, 6
STEPS = 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 5)).astype("float32")
Y = RNG.integers(0, 3, SIZE)


def new_trainer():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, activation="tanh", name="hidden"),
            keras.layers.Dropout(0.25, name="dropout"),
            keras.layers.Dense(3, activation="softmax", name="outputs"),
        ]
    )
    return tl.Trainer(
        model,
        "sparse_categorical_crossentropy",
        tl.inject_hyperparams(tl.sgd)(2**-5, momentum=0.75),
        execution="graph",
        nonfinite="stop",
    )


POOL = TrainerPool(new_trainer)


@pytest.fixture
def make():
    """`make()`: a trainer in its first state, not always a new one."""
    with POOL.lending() as lend:
        yield lend


def test_a_step_of_a_model_with_an_embedding_can_be_traced():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Embedding(9, 4, name="words"), keras.layers.Flatten()]
    )
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.5), execution="graph")
    config, state = trainer.context.programs.config, trainer.state
    batch = tf.constant([[1, 2, 2]]), tf.ones([1, 12])
    found = trace_step(lambda observer: train_step(config, observer=observer), state, batch)
    names = [summary.name for summary in found]
    assert "gradient words/embeddings" in names and "new params/words/embeddings" in names


def find(trainer, number, data, **options):
    """The step of a run without checkpoints."""
    return find_step(trainer.context, trainer.fit_config(data, **options), number)


def plateau():
    """Reduces the rate after the second epoch, before the first step of the third."""
    return ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=10.0)


OPTIONS = {"batch_size": ROWS, "epochs": 4}


def bits(state):
    return [x.numpy().tobytes() for x in tf.nest.flatten(state)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The checkpoints of a run, its states by step, and its step as a function."""
    folder = tmp_path_factory.mktemp("run")
    trainer, states = new_trainer(), {}

    class Keep(tl.callbacks.Callback):
        every = 1

        def on_train_batch_end(self, status):
            states[status.global_batch] = bits(status.state())

    callbacks = [plateau(), Keep(), SaveEvery(steps=4)]
    trainer.fit((X, Y), callbacks=callbacks, checkpoints=tl.Checkpoints(folder, keep=9), **OPTIONS)
    step = tf.function(train_step(trainer.context.programs.config), autograph=False)
    return folder, states, step


@pytest.mark.parametrize(
    ("number", "saved"),
    [
        *((1, False), (6, True), (13, False), (13, True), (24, True)),
        *(
            pytest.param(*case, marks=pytest.mark.soak)
            for case in ((2, True), (5, True), (6, False), (20, True), (20, False), (24, False))
        ),
    ],
)
def test_the_replayed_step_is_that_of_the_run(number, saved, run, make):
    folder, states, step = run
    checkpoints = tl.Checkpoints(folder) if saved else None
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    trainer = make()
    callbacks = [plateau(), SaveEvery(steps=1)]
    config = trainer.fit_config((X, Y), callbacks=callbacks, **OPTIONS)
    found = find_step(trainer.context, config, number, checkpoints)
    after, _ = step(found.state, found.batch, tf.constant(found.last))
    assert bits(after) == states[number]
    description = (
        f"step {number}: batch {(number - 1) % STEPS + 1} of 6 in epoch {-(-number // STEPS)}"
    )
    assert (found.description, found.last) == (description, number % STEPS == 0)
    assert len(found.batch[0]) == (4 if number % STEPS == 0 else ROWS)
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))} == before


def test_a_stream_is_replayed(make):
    batches = [(X[i : i + ROWS], Y[i : i + ROWS]) for i in range(0, SIZE, ROWS)]
    found = find(make(), 9, lambda: iter(batches), epochs=2)
    np.testing.assert_array_equal(found.batch[0], batches[2][0])
    assert found.description == "step 9: batch 3 in epoch 2"


def test_a_step_after_the_end_is_refused(make):
    with pytest.raises(ValueError, match="^replay_step 25: the run ends after 24 steps"):
        find(make(), 25, (X, Y), **OPTIONS)
    with pytest.raises(ValueError, match="^replay_step must be at least 1, got 0"):
        find(make(), 0, (X, Y), **OPTIONS)


def test_the_first_tensor_that_is_not_finite_is_named(make):
    x = X.copy()
    x[20, 1] = np.inf
    options = {**OPTIONS, "shuffle": False}
    with pytest.raises(NonFiniteError) as raised:
        make().fit((x, Y), **options)
    trainer = make()
    found = find(trainer, raised.value.batch, (x, Y), **options)
    assert raised.value.batch == 4
    summaries = replay_step(trainer.context, found)
    bad = first_nonfinite_tensor(summaries)
    assert (bad.name, bad.nans, bad.infs, bad.shape) == ("batch 0", 0, 1, (ROWS, 5))
    assert format_table(summaries).splitlines()[-1] == (
        "the first tensor that is not finite: batch 0, 0 NaN, 1 inf"
    )
    assert [line for line in format_table(summaries).splitlines() if line.startswith(">")][
        0
    ].split()[:3] == [
        ">",
        "batch",
        "0",
    ]


def test_all_parts_of_a_step_are_summarized_in_their_order():
    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(tf.exp(x @ params["w"]) + tf.sqrt(params["b"]), model_state)

    params = {"w": tf.constant([[2.0], [1.0]]), "b": tf.constant(0.0)}
    optimizer = tl.sgd(0.5)
    batch = tf.constant([[0.5, -0.5], [0.0, 0.0]]), tf.constant([[1.0], [0.0]])
    state = tl.init_state(params, (), optimizer)
    summaries = trace_step(
        lambda watch: tl.train_step(
            tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer), observer=watch
        ),
        state,
        batch,
    )
    names = [x.name for x in summaries]
    assert names[:4] == ["batch 0", "batch 1", "state params/b", "state params/w"]
    by_name = {x.name: x for x in summaries}
    wanted = ["forward Exp", "loss", "gradient w", "update w", "new params/w"]
    assert [name for name in names if name in wanted] == wanted
    product = np.array([[0.5], [0.0]], "float32")
    exp = np.exp(product)
    loss = np.mean((exp[:, 0] - [1, 0]) ** 2)
    assert by_name["forward Exp"].max == pytest.approx(exp.max(), rel=1e-6)
    assert by_name["loss"].mean == pytest.approx(loss, rel=1e-6)
    gradient = (batch[0].numpy() * (exp - [[1.0], [0.0]]) * exp).sum(0)
    assert by_name["gradient w"].min == pytest.approx(gradient.min(), rel=1e-5)
    assert by_name["update w"].max == pytest.approx(-0.5 * gradient.min(), rel=1e-5)
    bad = first_nonfinite_tensor(summaries)
    assert bad.name.startswith("backward ") or bad.name == "gradient b"
    assert by_name["gradient b"].infs == 1
