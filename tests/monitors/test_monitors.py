"""All monitors: arguments, states, and execution in compiled loops."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.monitors import params_of

from trainlib.core.conventions import default_of
from trainlib.monitors import early_stop, reduce_on_plateau
from trainlib.monitors.improvement import improvement


@pytest.mark.parametrize("jit_compile", [False, True])
def test_monitors_run_in_a_while_loop(jit_compile):
    plateaus = reduce_on_plateau("loss", patience=2, factor=0.5, min_lr=0.01)
    stops = early_stop("loss", patience=6, restore_best_weights=True)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def descend():
        """Gradient descent on |w| with a rate that falls when w oscillates."""

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
def test_updates_keep_dtypes_and_shapes(rate_dtype):
    monitor = reduce_on_plateau("loss", rate_dtype=rate_dtype)
    stops = early_stop("loss", restore_best_weights=True)
    start, begin = monitor.init(tf.constant(0.5, tf.float16)), stops.init(params_of(0))
    states = [monitor.update(np.float32(0.5), start), stops.update(1, begin, params_of(1))]
    for before, after in zip([start, begin], states, strict=True):
        tf.nest.assert_same_structure(before, after)
        for a, b in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert start.learning_rate.dtype == rate_dtype
    assert {x.dtype for x in states[0][:4]} == {tf.int64, tf.float64}


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
def test_invalid_options_are_rejected(make, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make("loss", **options)


def test_invalid_states_are_rejected():
    with pytest.raises(ValueError, match="^learning_rate must be at least 0, got -1"):
        reduce_on_plateau().init(-1)
    monitor = early_stop(restore_best_weights=True)
    with pytest.raises(ValueError, match=r"^restore_best_weights needs the parameters: init\("):
        monitor.init()
    with pytest.raises(ValueError, match="^params must have the structure of the state's best_par"):
        monitor.update(1.0, monitor.init([1.0]), {"w": 1.0})


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
