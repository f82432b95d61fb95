"""Performance scheduling: the decisions of Keras's callbacks, epoch by epoch."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.core.conventions import default_of
from trainlib.monitors import early_stop, reduce_on_plateau
from trainlib.monitors.improvement import direction, improvement
from trainlib.verify.function_cases.monitors import (
    keras_plateau,
    keras_stopping,
    plateau,
    stopping,
)

EPOCHS = 40


def rates(history, rate=1.0, **options):
    """The rate after each epoch."""
    machine = reduce_on_plateau("loss", **options)
    state, seen = machine.init(rate), []
    for value in history:
        state = machine.update(value, state)
        seen.append(float(state.learning_rate))
    return seen


def drops(history, **options):
    """The indices of the epochs after which the rate fell by half."""
    path = np.array([1.0, *rates(history, factor=0.5, **options)])
    assert set(path[1:] / path[:-1]) <= {0.5, 1.0}
    return list(np.flatnonzero(path[1:] < path[:-1]))


def stop_at(history, **options):
    """The index of the epoch that stops, and the state; None where none does."""
    machine = early_stop("loss", **options)
    state = machine.init()
    for index, value in enumerate(history):
        state = machine.update(value, state)
        if state.stop:
            return index, state
    return None, state


def random_histories(rng, count=10):
    """Walks with ties, with falls of just min_delta, and with NaN and inf after the beginning."""
    steps = rng.normal(-0.05, rng.uniform(0.01, 0.5), (count, EPOCHS))
    steps[rng.uniform(size=steps.shape) < 0.2] = 0.0
    walk = 3 + np.cumsum(steps, axis=1)
    walk[::2] = np.round(walk[::2], int(rng.integers(1, 4)))
    walk[1] = 0.7 - 1e-4 * np.cumsum(rng.integers(0, 3, EPOCHS))
    odd = rng.uniform(size=walk.shape) < rng.choice([0.0, 0.1])
    odd[:, 0] = False
    walk[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum(), p=[0.5, 0.4, 0.1])
    return walk


def assert_same(ours, theirs):
    for name, expected in theirs.items():
        np.testing.assert_array_equal(np.asarray(ours[name]), expected, err_msg=name)


@pytest.mark.parametrize("seed", range(12))
def test_rates_and_counters_are_those_of_keras(seed):
    rng = np.random.default_rng(seed)
    options = {
        "mode": rng.choice(["min", "max"]).item(),
        "factor": rng.choice([0.1, 0.5, 0.7]).item(),
        "patience": int(rng.integers(0, 5)),
        "min_delta": rng.choice([0.0, 1e-4, 0.1]).item(),
        "cooldown": int(rng.integers(0, 4)),
        "min_lr": rng.choice([1e-9, 0.003, 0.02]).item(),
    }
    history = random_histories(rng)
    assert_same(
        plateau(0.1, **options)("float64", tf.constant(history)),
        keras_plateau(**options)("float64", history),
    )


@pytest.mark.parametrize("seed", range(16))
def test_stops_and_restored_epochs_are_those_of_keras(seed):
    rng = np.random.default_rng(seed)
    options = {
        "mode": rng.choice(["min", "max"]).item(),
        "patience": int(rng.integers(0, 9)),
        "min_delta": rng.choice([0.0, 1e-4, 0.1]).item(),
        "baseline": rng.choice([None, 2.9, 3.1]),
        "restore_best_weights": bool(seed % 2),
        "start_from_epoch": int(rng.choice([0, 0, 3, EPOCHS])) * (seed % 4 > 1),
    }
    history = random_histories(rng, 20)
    history[np.arange(20), options["start_from_epoch"] % EPOCHS] = 3.0
    theirs = keras_stopping(**options)("float64", history)
    if options["start_from_epoch"] == EPOCHS:
        theirs.pop("restored", None)  # Keras never saw any weights.
    assert_same(stopping(**options)("float64", tf.constant(history)), theirs)


def test_a_constant_metric_is_reduced_at_the_epochs_of_each_library():
    constant = [1.0] * 13
    assert drops(constant, patience=2) == [2, 4, 6, 8, 10, 12]
    assert drops(constant, patience=2, convention="torch") == [3, 6, 9, 12]
    assert drops(constant, patience=2, convention="optax") == [2, 4, 6, 8, 10, 12]
    assert drops(constant, patience=0) == drops(constant, patience=1) == [*range(1, 13)]
    assert drops(constant, patience=0, convention="torch") == [*range(1, 13)]


def test_a_cooldown_is_one_epoch_shorter_in_keras():
    constant = [1.0] * 13
    assert drops(constant, patience=2, cooldown=1) == drops(constant, patience=2)
    assert drops(constant, patience=2, cooldown=3) == [2, 6, 10]
    assert drops(constant, patience=2, cooldown=3, cooldown_rule="full") == [2, 7, 12]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "cooldown"), [(1, 1), (2, 3), (4, 2)])
def test_keras_is_torch_and_optax_in_other_numbers(patience, cooldown, mode):
    rng = np.random.default_rng(patience)
    history = 4 - np.cumsum(rng.integers(-3, 5, 80)) / 64  # exact, and so are its sums
    of_all = {"mode": mode, "min_delta": 2**-6, "factor": 0.5, "rel_delta": 0.0}
    keras_rates = rates(history, patience=patience, cooldown=cooldown, **of_all)
    of_all["cooldown"] = cooldown - 1
    assert (
        rates(history, patience=patience - 1, convention="torch", eps=0.0, **of_all) == keras_rates
    )
    assert rates(history, patience=patience, convention="optax", **of_all) == keras_rates
    assert len(set(keras_rates)) > 5


def test_an_improvement_is_more_than_min_delta():
    at, above = [1.0, 0.75, 0.5], [1.0, 0.7499, 0.4998]
    assert drops(at, patience=1, min_delta=0.25) == [1]  # 0.5 improves on 1 by more
    assert drops(above, patience=1, min_delta=0.25) == []
    assert drops([-x for x in at], patience=1, min_delta=0.25, mode="max") == [1]
    # Slow falls count once they are large enough together.
    assert drops(np.arange(1, 0, -0.125), patience=2, min_delta=0.2) == []


def test_the_side_of_the_delta_decides_where_a_sum_is_rounded():
    # 1 - 2^-24 is the number next to 1 in float32, and 1 - 2^-25 is rounded to 1.
    history, options = [1.0, 1 - 2**-24], {"patience": 1, "min_delta": 2**-25}
    assert drops(history, **options) == [1]
    assert drops(history, delta_at="best", **options) == []
    theirs = keras_plateau(mode="min", **options)("float64", np.array([history]))
    assert theirs["wait"].tolist() == [[0], [0]] and theirs["learning_rate"][1] < 0.1


def test_a_relative_delta_is_a_share_of_the_best():
    options = {"patience": 1, "min_delta": 0.0, "rel_delta": 0.25}
    assert drops([4.0, 3.0, 2.9], **options) == [1]
    assert drops([4.0, 5.0, 5.1], mode="max", **options) == [1]


def test_metrics_that_are_one_number_in_float32_do_not_improve():
    falling = [1.0, 1 - 1e-9, 1 - 2e-9]
    options = {"patience": 1, "min_delta": 0.0}
    assert drops(falling, **options) == [1, 2]
    assert drops(falling, compare_dtype="float64", **options) == []
    assert stop_at(falling)[0] == 1
    assert stop_at(falling, compare_dtype="float64")[0] is None


def test_a_nan_at_first_is_no_best():
    falling = [np.nan, 3.0, 2.0, 1.0, 0.5]
    assert drops(falling, patience=2) == []
    assert drops(falling, patience=2, first="any") == [2, 4]
    assert drops(falling, patience=2, first="worst") == []
    index, state = stop_at(falling, patience=2)
    assert (index, state.best.numpy(), state.best_epoch.numpy()) == (None, 0.5, 5)
    assert stop_at(falling, patience=2, first="any")[0] == 2


def test_an_infinity_at_first_is_a_best_unless_it_must_be_better_than_the_worst():
    endless = [np.inf, np.inf, np.inf, 1.0]
    assert drops(endless, patience=2) == [2]
    assert drops(endless, patience=2, first="worst") == [1]


@pytest.mark.parametrize("convention", ["keras", "torch", "optax"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_everywhere_is_a_plateau(convention, mode):
    assert len(drops([np.nan] * 12, patience=3, mode=mode, convention=convention)) >= 3
    assert stop_at([np.nan] * 12, patience=3, mode=mode)[0] == 2
    assert stop_at([np.nan] * 12, patience=0, mode=mode)[0] == 1


def test_the_rate_is_held_in_its_dtype_and_ends_at_min_lr():
    constant = [1.0] * 8
    seen = rates(constant, 0.1, patience=1, min_lr=0.003)
    expected = [np.float32(0.1), np.float32(float(np.float32(0.1)) * 0.1)]
    assert seen == [float(x) for x in expected] + [float(np.float32(0.003))] * 6
    exact = rates(constant, 0.1, patience=1, min_lr=0.003, rate_dtype="float64")
    assert exact == [0.1, 0.1 * 0.1] + [0.003] * 6
    assert rates(constant, 0.001, min_lr=0.003, patience=1) == [float(np.float32(0.001))] * 8


def test_changes_of_the_rate_up_to_eps_are_not_made():
    assert rates([1.0] * 5, patience=1, factor=0.5, eps=0.125) == [1, 0.5, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
def test_a_constant_metric_stops_after_patience(patience):
    index, state = stop_at([1.0] * 9, patience=patience)
    assert index == max(patience, 1)
    assert (state.wait, state.best_epoch, state.epoch) == (max(patience, 1), 1, index + 1)


def test_waiting_begins_anew_only_below_the_baseline():
    falling = [5.0, 4.0, 3.0, 3.0, 2.0]
    assert stop_at(falling, patience=3, baseline=1.0)[0] == 3
    assert stop_at(falling, patience=3, baseline=3.5)[0] is None
    # A new best never stops, however long the wait is.
    assert stop_at([5.0, 4.0, 3.0, 2.0, 1.5], patience=1, baseline=1.0)[0] is None


def test_epochs_before_the_start_are_not_looked_at():
    index, state = stop_at([1.0, 9.0, 9.0, 8.0, 8.0, 8.0], patience=2, start_from_epoch=2)
    assert (index, state.best, state.best_epoch) == (5, 8.0, 4)
    index, state = stop_at([1.0] * 5, start_from_epoch=5)
    assert (index, state.best_epoch, state.epoch, state.wait) == (None, 0, 5, 0)
    assert np.isnan(state.best)


def params_of(epoch):
    return {"w": tf.fill([2, 3], float(epoch)), "n": [tf.constant(epoch, tf.int32)]}


def test_the_state_holds_the_parameters_of_the_best_epoch():
    machine = early_stop("loss", patience=2, restore_best_weights=True)
    state = machine.init(params_of(0))
    for epoch, (value, best) in enumerate([(3, 1), (2, 2), (4, 2), (1, 4), (1, 4), (2, 4)], 1):
        state = machine.update(value, state, params_of(epoch))
        expected = params_of(best)
        np.testing.assert_array_equal(state.best_params["w"], expected["w"])
        assert state.best_params["n"][0] == best == state.best_epoch
    assert state.stop


def test_where_all_is_nan_the_first_parameters_are_the_best():
    machine = early_stop("loss", patience=3, restore_best_weights=True)
    state = machine.init([0.0])
    for epoch in (1.0, 2.0, 3.0):
        state = machine.update(np.nan, state, [epoch])
    assert state.stop and state.best_epoch == 1 and state.best_params[0] == 1.0


def test_no_update_changes_a_state_that_has_stopped():
    machine = early_stop("loss", restore_best_weights=True)
    state = machine.init([0.0])
    for epoch, value in enumerate((2.0, 3.0), 1):
        state = machine.update(value, state, [float(epoch)])
    assert state.stop
    later = machine.update(0.5, state, [9.0])
    for a, b in zip(tf.nest.flatten(state), tf.nest.flatten(later), strict=True):
        assert a.numpy() == b.numpy()


def test_without_restoring_no_parameters_are_held():
    machine = early_stop("loss")
    assert machine.update(1.0, machine.init(params_of(0)), params_of(1)).best_params == ()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_machines_run_in_a_while_loop(jit_compile):
    plateaus = reduce_on_plateau("loss", patience=2, factor=0.5, min_lr=0.01)
    stops = early_stop("loss", patience=6, restore_best_weights=True)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def descend():
        """Gradient descent on |w| with a rate that falls when it jumps to and fro."""

        def body(w, plateau_state, stop_state):
            w = w - plateau_state.learning_rate * tf.sign(w)
            loss = tf.abs(w)
            return w, plateaus.update(loss, plateau_state), stops.update(loss, stop_state, [w])

        w = tf.constant(10.3)
        start = w, plateaus.init(0.5), stops.init([w])
        return tf.while_loop(lambda w, p, s: ~s.stop, body, start, maximum_iterations=200)

    w, plateau_state, stop_state = descend()
    assert stop_state.stop and 20 < stop_state.epoch < 200
    assert plateau_state.learning_rate == np.float32(0.01)
    assert stop_state.best == np.float64(abs(stop_state.best_params[0])) <= 0.01
    assert abs(w) >= abs(stop_state.best_params[0])


@pytest.mark.parametrize("rate_dtype", ["float32", "float64"])
def test_dtypes_and_shapes_stay(rate_dtype):
    machine = reduce_on_plateau("loss", rate_dtype=rate_dtype)
    stops = early_stop("loss", restore_best_weights=True)
    start, begin = machine.init(tf.constant(0.5, tf.float16)), stops.init(params_of(0))
    states = [machine.update(np.float32(0.5), start), stops.update(1, begin, params_of(1))]
    for before, after in zip([start, begin], states, strict=True):
        tf.nest.assert_same_structure(before, after)
        for a, b in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert start.learning_rate.dtype == rate_dtype
    assert {x.dtype for x in states[0][:4]} == {tf.int64, tf.float64}


@pytest.mark.parametrize(
    ("names", "mode"),
    [
        ("loss val_loss mse val_mae mean_squared_error rmse top_5_error Val_Loss", "min"),
        ("binary_crossentropy kl_divergence huber poisson squared_hinge log_cosh", "min"),
        ("accuracy val_acc sparse_top_k_categorical_accuracy top_5 f1_score mean_iou", "max"),
        ("auc val_precision recall_at_precision r2_score sensitivity_at_specificity", "max"),
    ],
)
def test_the_direction_is_told_by_the_name(names, mode):
    assert {name: direction(name) for name in names.split()} == dict.fromkeys(names.split(), mode)


def test_the_direction_is_that_of_keras_for_its_own_metrics():
    makers = {
        name: maker
        for name in dir(keras.metrics)
        if isinstance(maker := getattr(keras.metrics, name), type)
        and issubclass(maker, keras.metrics.Metric)
    }
    told = {}
    for maker in makers.values():
        try:
            metric = maker()
            told[metric.name] = direction(metric.name), metric._direction
        except (TypeError, ValueError, AttributeError):
            continue  # It needs arguments, has no direction, or a name that does not tell.
    assert len(told) > 15
    for name, (ours, theirs) in told.items():
        assert theirs in ("up", "down", None)
        if theirs is not None:
            assert ours == {"up": "max", "down": "min"}[theirs], name


@pytest.mark.parametrize("name", ["cosine_similarity", "score", "", "accuracys", "lossy"])
def test_a_name_that_tells_nothing_needs_a_mode(name):
    for make in (reduce_on_plateau, early_stop):
        with pytest.raises(ValueError, match=f"^cannot tell from the name '{name}' .*mode='min'"):
            make(name)
        make(name, mode="min")


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (reduce_on_plateau, {"factor": 1.0}, ValueError, "factor must be above 0 and below 1"),
        (reduce_on_plateau, {"factor": 0}, ValueError, "factor must be above 0"),
        (reduce_on_plateau, {"patience": -1}, ValueError, "patience must be at least 0, got -1"),
        (reduce_on_plateau, {"patience": 1.5}, TypeError, "patience must be an integer"),
        (reduce_on_plateau, {"cooldown": -1}, ValueError, "cooldown must be at least 0"),
        (reduce_on_plateau, {"min_lr": -0.1}, ValueError, "min_lr must be at least 0"),
        (reduce_on_plateau, {"min_delta": -1e-4}, ValueError, "min_delta must be at least 0"),
        (reduce_on_plateau, {"rel_delta": 1.0}, ValueError, "rel_delta must be .* below 1"),
        (reduce_on_plateau, {"eps": "0"}, TypeError, "eps must be a number, got '0'"),
        (reduce_on_plateau, {"mode": "mn"}, ValueError, "unknown mode 'mn': did you mean 'min'"),
        (reduce_on_plateau, {"patience_rule": "g"}, ValueError, "unknown patience_rule 'g'"),
        (reduce_on_plateau, {"cooldown_rule": "ful"}, ValueError, "unknown cooldown_rule 'ful'"),
        (reduce_on_plateau, {"rate_dtype": "float16"}, ValueError, "unknown rate_dtype 'float16'"),
        (reduce_on_plateau, {"convention": "tf"}, ValueError, "unknown convention of reduce_on_"),
        (early_stop, {"patience": -1}, ValueError, "patience must be at least 0"),
        (early_stop, {"min_delta": np.nan}, ValueError, "min_delta must be finite"),
        (early_stop, {"baseline": "1"}, TypeError, "baseline must be a number"),
        (early_stop, {"start_from_epoch": -1}, ValueError, "start_from_epoch must be at least 0"),
        (early_stop, {"first": "nan"}, ValueError, "unknown first 'nan'"),
        (early_stop, {"compare_dtype": "half"}, ValueError, "unknown compare_dtype 'half'"),
        (improvement, {"delta_at": "beast"}, ValueError, "unknown delta_at 'beast'.* 'best'"),
    ],
)
def test_wrong_options_are_refused(make, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make("loss", **options)


def test_wrong_states_are_refused():
    with pytest.raises(ValueError, match="^learning_rate must be at least 0, got -1"):
        reduce_on_plateau().init(-1)
    machine = early_stop(restore_best_weights=True)
    with pytest.raises(ValueError, match=r"^restore_best_weights needs the parameters: init\("):
        machine.init()
    with pytest.raises(ValueError, match="^params must have the structure of the state's best_par"):
        machine.update(1.0, machine.init([1.0]), {"w": 1.0})


@pytest.mark.parametrize(
    ("make", "peer"),
    [
        (reduce_on_plateau, keras.callbacks.ReduceLROnPlateau),
        (early_stop, keras.callbacks.EarlyStopping),
    ],
)
def test_arguments_and_defaults_are_those_of_keras(make, peer):
    theirs = dict(inspect.signature(peer).parameters)
    for name in ("verbose", "kwargs"):
        theirs.pop(name, None)
    ours = [p.name for p in inspect.signature(make).parameters.values() if p.kind != p.KEYWORD_ONLY]
    assert ours == list(theirs)
    for name, parameter in theirs.items():
        assert default_of(make, name) == parameter.default
