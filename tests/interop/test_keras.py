"""Keras's optimizers with their options and states, and a run that `model.fit` began."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl
import trainlib.training.functional_model as functional_model
from trainlib.training.model_variables import write_back

needs_new_keras = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has not these options yet"
)
NEW = ["muon (weight decay)", "muon (no scale, excluded layers)", "schedule_free_adamw (warm-up)"]
TITLES = [
    "sgd",
    "sgd (momentum)",
    "sgd (nesterov, weight decay)",
    "rmsprop",
    "rmsprop (centered, momentum)",
    "adagrad",
    "adadelta",
    "adam (weight decay)",
    "adam (amsgrad)",
    "adamw",
    "adamax",
    "nadam",
    "ftrl (all)",
    "adafactor",
    "lion",
    "lamb",
    *(pytest.param(title, marks=needs_new_keras) for title in NEW),
]
SHAPES = {"scalar": (), "wide": (3, 6), "tall": (6, 4)}


class Peer:
    """A Keras optimizer on the problem, at the learning rates of its iterations."""

    def __init__(self, case, start, problem):
        of_peer = case.peers["keras"]
        dtype = next(iter(start.values())).dtype.name
        exact = np.float64 if dtype == "float64" else float
        rates = tf.constant(problem.rates)

        class Rates(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step):
                return tf.cast(tf.gather(rates, step), dtype)

        options = {
            k: exact(x) if isinstance(x, float) and k != "momentum" else x
            for k, x in of_peer.options.items()
        }
        self.problem = problem
        self.patch = of_peer.patch or contextlib.nullcontext
        self.variables = {k: keras.Variable(w, dtype=dtype, name=k) for k, w in start.items()}
        self.optimizer = getattr(keras.optimizers, of_peer.name)(learning_rate=Rates(), **options)
        self.optimizer.build(list(self.variables.values()))

    @property
    def params(self):
        return {name: v.numpy() for name, v in self.variables.items()}

    def step(self, k):
        noise = self.problem.noise[k]
        grads = [self.problem.curvature[n] * v.value + noise[n] for n, v in self.variables.items()]
        with self.patch():
            self.optimizer.apply(grads)


@pytest.fixture
def floatx():
    """Set Keras's floatx, in which Muon computes factors, for a test."""
    before = keras.config.floatx()
    yield keras.config.set_floatx
    keras.config.set_floatx(before)


@pytest.mark.parametrize("dtype", soak_except("float64", names=["float64", "float32"]))
@pytest.mark.parametrize("title", TITLES)
def test_each_state_makes_a_round_trip(title, dtype, case, round_trip, floatx):
    floatx(dtype)
    of = case(title)
    round_trip(
        lambda start, problem: Peer(of, start, problem),
        lambda peer: tl.interop.optimizer_from_keras(peer.optimizer, peer.variables),
        lambda state, peer: tl.interop.state_to_keras(state, peer.optimizer, peer.variables),
        dtype,
        {"shapes": SHAPES} | of.problem,
    )


@needs_new_keras
def test_every_optimizer_of_keras_can_be_converted():
    classes = {
        name
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }
    wrappers = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
    assert classes - wrappers == set(tl.interop.keras_optimizers.COUNTERPARTS)


X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]], "float32") + 0.25).astype("float32")
BATCH = 8
ONE = tf.ones(1)


def make_model(optimizer, constraint=None):
    """Return a small Keras model with fixed weights, whose paths begin with its name.

    It runs eagerly: there are few steps, and each model would be traced.
    """
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4, "tanh", name="hidden", kernel_constraint=constraint),
            keras.layers.Dense(1, name="out"),
        ],
        name="net",
    )
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def fit(model, epochs):
    model.fit(X, Y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0)


def continue_in_trainlib(model, epochs, **options):
    """Train as `fit` does, by `tl.train_step`."""
    tx, opt_state = tl.interop.optimizer_from_keras(model.optimizer, model, **options)
    apply_fn, params, model_state = functional_model.functional_from_keras(model)
    config = tl.StepConfig(apply_fn, tl.losses.mean_squared_error, tx)
    step = tl.train_step(config)
    state = tl.init_state(params, model_state, tx)._replace(opt_state=opt_state)
    for _ in range(epochs):
        for i in range(0, len(X), BATCH):
            state, _ = step(state, (tf.constant(X[i : i + BATCH]), tf.constant(Y[i : i + BATCH])))
    write_back(model, state.params, state.model_state)
    tl.interop.state_to_keras(state.opt_state, model.optimizer, model)
    # `fit` ends by replacing the parameters by their averages.
    model.optimizer.finalize_variable_values(model.trainable_variables)


def assert_same(model, stayed, tolerance=1e-6):
    for v, w in zip(model.weights, stayed.weights, strict=True):
        np.testing.assert_allclose(v.numpy(), w.numpy(), rtol=0, atol=tolerance, err_msg=v.path)


def without_bias(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


DECAY = keras.optimizers.schedules.ExponentialDecay
OPTIONS = {
    "plain": lambda: keras.optimizers.Adam(0.01),
    "schedule": lambda: keras.optimizers.Nadam(DECAY(0.05, 5, 0.5)),
    "exclusions": lambda: without_bias(keras.optimizers.AdamW(0.01, weight_decay=0.5)),
    "clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.5, clipnorm=0.5),
    "clipvalue": lambda: keras.optimizers.SGD(0.05, momentum=0.5, clipvalue=0.25),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.5, global_clipnorm=0.5),
    "average": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.75),
    "overwriting average": lambda: keras.optimizers.SGD(
        0.05, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=2
    ),
    "loss scale factor": lambda: keras.optimizers.Adam(0.01, loss_scale_factor=8.0),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
    "several": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(0.01),
            {".*hidden.*": keras.optimizers.RMSprop(0.01, momentum=0.5)},
        )
    ),
    "muon": lambda: keras.optimizers.Muon(0.01, exclude_layers=["net/out"]),
    "accumulation": lambda: keras.optimizers.Adam(
        DECAY(0.05, 3, 0.5), gradient_accumulation_steps=2, clipnorm=0.5
    ),
}


RARE = (
    "schedule",
    "average",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "overwriting average",
    "loss scale factor",
    "exclusions",
)
"""Run by soak."""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            name,
            marks=[
                *([needs_new_keras] if name in ("several", "muon") else []),
                *([pytest.mark.soak] if name in RARE else []),
            ],
        )
        for name in OPTIONS
    ],
)
def test_training_continues_from_fit_in_trainlib_and_back(options):
    make = OPTIONS[options]
    model, stayed = make_model(make()), make_model(make())
    # Three batches an epoch: with accumulation over two, both changes fall in an open window.
    fit(model, 1)
    continue_in_trainlib(model, 2, micro_batch_weight=BATCH)
    fit(stayed, 1)
    fit(stayed, 2)
    # Keras sums a window's gradients and ours weighs them, which rounds otherwise.
    assert_same(model, stayed)
    fit(model, 1)
    fit(stayed, 1)
    assert_same(model, stayed)


def test_a_trainer_continues_from_fit():
    """Each batch is all data: `Trainer` has another order of examples."""

    def whole(model, epochs):
        model.fit(X, Y, batch_size=len(X), epochs=epochs, verbose=0)

    model = make_model(keras.optimizers.Adam(0.01))
    stayed = make_model(keras.optimizers.Adam(0.01))
    whole(model, 2)
    tx, opt_state = tl.interop.optimizer_from_keras(model.optimizer, model)
    trainer = tl.Trainer(model, "mean_squared_error", tx, execution="graph")
    trainer.state = trainer.state._replace(opt_state=opt_state)
    trainer.fit((X, Y), batch_size=len(X), epochs=3)
    tl.interop.state_to_keras(trainer.state.opt_state, model.optimizer, model)
    whole(model, 2)
    whole(stayed, 7)
    assert_same(model, stayed)
    assert int(model.optimizer.iterations) == 7


class ClippedTo(keras.constraints.Constraint):
    """A constraint under which averages before and after it differ."""

    def __init__(self, bound):
        self.bound = bound

    def __call__(self, w):
        return tf.clip_by_value(w, -self.bound, self.bound)


@pytest.mark.parametrize("options", [{}, {"use_ema": True, "ema_momentum": 0.5}])
def test_constraints_act_as_in_keras(options):
    def make():
        return make_model(keras.optimizers.SGD(0.1, **options), ClippedTo(0.3))

    model, stayed = make(), make()
    fit(model, 1)
    continue_in_trainlib(model, 2)
    fit(stayed, 1)
    fit(stayed, 2)
    assert_same(model, stayed)
    # The bound was reached; averages are of what was beyond it.
    assert np.max(np.abs(stayed.layers[0].kernel.numpy())) >= np.float32(0.3)
    for a, b in zip(model.optimizer.variables, stayed.optimizer.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6, err_msg=a.path)


def test_the_state_has_the_paths_of_the_parameters():
    model = make_model(keras.optimizers.Adam(0.01))
    fit(model, 1)
    tx, state = tl.interop.optimizer_from_keras(model.optimizer, model)
    assert isinstance(state, tuple) and int(state[0].step) == 3
    assert set(state[0].m) == {"hidden/kernel", "hidden/bias", "out/kernel", "out/bias"}
    own = tl.interop.optimizer_from_keras(model.optimizer)[1]
    assert set(own[0].m) == {v.path for v in model.trainable_variables}


def test_a_step_that_keras_skips_is_skipped():
    model = make_model(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)))
    fit(model, 1)
    tx, state = tl.interop.optimizer_from_keras(model.optimizer, model)
    params = functional_model.functional_from_keras(model).params
    updates, after = tx.update({k: w * np.nan for k, w in params.items()}, state, params)
    assert int(after.step) == int(state.step) == 3
    assert all(np.all(u.numpy() == 0) for u in updates.values())


def test_an_optimizer_that_is_not_built_raises_an_error():
    def write(optimizer):
        tl.interop.state_to_keras((), optimizer)

    for convert in (tl.interop.optimizer_from_keras, write):
        with pytest.raises(ValueError, match="adam has no variables yet"):
            convert(keras.optimizers.Adam(name="adam"))


def test_a_subclass_of_an_optimizer_raises_an_error():
    class Own(keras.optimizers.SGD):
        pass

    optimizer = Own()
    optimizer.build([keras.Variable([1.0], name="w")])
    with pytest.raises(ValueError, match="Own is not one of Keras's own optimizers"):
        tl.interop.optimizer_from_keras(optimizer)


def test_an_average_with_accumulation_raises_an_error():
    model = make_model(keras.optimizers.SGD(use_ema=True, gradient_accumulation_steps=2))
    fit(model, 1)
    with pytest.raises(ValueError, match="use_ema with gradient_accumulation_steps"):
        tl.interop.optimizer_from_keras(model.optimizer, model)


def test_names_that_differ_are_in_the_message():
    w, b = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    optimizer = keras.optimizers.Adam()
    optimizer.build([w, b])
    with pytest.raises(ValueError) as error:
        tl.interop.optimizer_from_keras(optimizer, {"kernel": w, "other": keras.Variable([1.0])})
    assert str(error.value).splitlines() == [
        "the parameters of trainlib and the Keras optimizer differ:",
        "  only in trainlib: other",
        "  only in the Keras optimizer: bias",
    ]
    state = tl.adam().init({"kernels": ONE, "bias": ONE})
    with pytest.raises(ValueError, match=r"only in trainlib: kernels \(nearest in Keras: kernel\)"):
        tl.interop.state_to_keras(state, optimizer)
    state = tl.adam().init({"kernel": tf.ones(2), "bias": ONE})
    with pytest.raises(ValueError, match=r"of kernel has shape \[2\] in trainlib, \[1\] in Keras"):
        tl.interop.state_to_keras(state, optimizer)
    assert float(optimizer.iterations) == 0


def test_a_state_of_another_optimizer_raises_an_error():
    optimizer = keras.optimizers.Lamb()
    optimizer.build([keras.Variable([1.0], name="w")])
    with pytest.raises(ValueError, match="Keras's Lamb takes LambState, got AdamState"):
        tl.interop.state_to_keras(tl.adam().init({"w": ONE}), optimizer)


def test_slots_that_differ_are_in_the_message():
    optimizer = keras.optimizers.Adam(use_ema=True)
    optimizer.build([keras.Variable([1.0], name="w")])
    with pytest.raises(ValueError, match="only in Keras: _model_variables_moving_average"):
        tl.interop.state_to_keras(tl.adam().init({"w": ONE}), optimizer)


def test_two_variables_of_one_path_are_in_the_message():
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable([1.0], name="w"), keras.Variable([1.0], name="w")])
    with pytest.raises(ValueError, match="two variables have the path 'w'"):
        tl.interop.optimizer_from_keras(optimizer)


@needs_new_keras
@pytest.mark.parametrize("excluded", [True, False])
def test_muon_leaves_embeddings_to_adam_where_keras_does(excluded):
    table = keras.Variable(np.ones((4, 2), "float32"), name="embedding")
    optimizer = keras.optimizers.Muon(exclude_embeddings=excluded)
    optimizer.build([table])
    _, (state,) = tl.interop.optimizer_from_keras(optimizer)
    assert list(state.parts) == ["adam" if excluded else "muon"]
