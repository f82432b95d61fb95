"""`TrainlibRegressor`: its fits, its parameters, what it refuses."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from helpers.processes import output_of
from sklearn.datasets import make_regression
from sklearn.metrics import r2_score

import trainlib as tl

Regressor = tl.estimators.TrainlibRegressor
GRAPH = tl.ExperimentConfig(execution="graph")


def small(**params):
    """Return a small regressor that needs no compiler."""
    settings = {"hidden": (8,), "epochs": 4, "config": GRAPH, "random_state": 0}
    return Regressor(**{**settings, **params})


@pytest.fixture(scope="module")
def data():
    """Return a table of numbers and its targets."""
    x, y = make_regression(96, 4, noise=1.0, random_state=0)
    return x, y / y.std()


@pytest.fixture(scope="module")
def fitted(data):
    """Return a regressor after four epochs."""
    return small().fit(*data)


def test_it_predicts_what_its_keras_model_predicts(fitted, data):
    x, y = data
    predictions = fitted.predict(x)
    expected = fitted.build_model().predict(x.astype("float32"), verbose=0)[:, 0]
    np.testing.assert_allclose(predictions, expected, rtol=1e-5, atol=1e-6)
    assert predictions.dtype == y.dtype
    assert fitted.score(x, y) == pytest.approx(r2_score(y, predictions))


def test_fits_that_share_a_program_predict_by_their_own_parameters(fitted, data):
    x, y = data
    other = small(learning_rate=0.1).fit(x, 2 * y)
    for regressor in (other, fitted):
        expected = regressor.build_model().predict(x.astype("float32"), verbose=0)[:, 0]
        np.testing.assert_allclose(regressor.predict(x), expected, rtol=1e-5, atol=1e-6)
    assert fitted._fitted._function.func is other._fitted._function.func


def test_an_example_is_predicted_alike_whatever_the_others_are(fitted, data):
    whole = fitted.predict(data[0])
    for size in (1, 2, 7):
        np.testing.assert_array_equal(fitted.predict(data[0][:size]), whole[:size])


def test_its_history_is_that_of_an_experiment_with_the_same_settings(fitted):
    losses = [results["loss"] for results in fitted.history_]
    assert fitted.loss_curve_ == losses and fitted.loss_ == losses[-1] < losses[0]
    assert fitted.n_iter_ == 4 and fitted.validation_scores_ is None
    assert fitted.n_features_in_ == 4 and fitted.n_outputs_ == 1


def test_a_random_state_gives_the_same_numbers_and_none_others(data, fitted):
    again = small().fit(*data)
    np.testing.assert_array_equal(again.predict(data[0]), fitted.predict(data[0]))
    varied = [small(random_state=None, config=None, epochs=1) for _ in range(2)]
    seeds = {estimator._seed() for estimator in varied}
    assert len(seeds) == 2
    assert small(random_state=None)._seed() == GRAPH.seed


def test_it_stops_early_and_ends_with_the_best_epoch(data):
    x, y = data
    stopped = small(early_stopping=True, patience=1, epochs=500, learning_rate=0.3).fit(x, y)
    assert stopped.n_iter_ < 500
    assert len(stopped.validation_scores_) == stopped.n_iter_
    assert stopped.best_validation_score_ == max(stopped.validation_scores_)
    given = small(early_stopping=True, epochs=2).fit(x, y, X_val=x[:10], y_val=y[:10])
    assert given.validation_scores_[-1] == pytest.approx(given.score(x[:10], y[:10]), abs=1e-4)


def test_a_warm_start_continues_to_the_same_bits(data):
    whole = small(dropout=0.1, epochs=4).fit(*data)
    parts = small(dropout=0.1, epochs=2, warm_start=True).fit(*data).fit(*data)
    assert parts.n_iter_ == 4 and parts.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(parts.predict(data[0]), whole.predict(data[0]))
    with pytest.raises(ValueError, match=r"one of model .*it is now config\('mlp', hidden=\(4,\)"):
        parts.set_params(hidden=(4,)).fit(*data)
    with pytest.raises(ValueError, match=r"one of optimizer .*set warm_start=False"):
        parts.set_params(hidden=(8,), optimizer__beta_1=0.5).fit(*data)


def test_a_fit_does_not_continue_one_of_a_schedule_or_an_average_of_its_length(data):
    swa = tl.ExperimentConfig(execution="graph", weight_average=tl.AverageConfig(kind="swa"))
    for settings in ({"schedule": "cosine_decay"}, {"config": swa, "epochs": 8}):
        once = small(warm_start=True, **settings).fit(*data)
        for again in (once.fit, once.partial_fit):
            with pytest.raises(
                ValueError, match="depends on the number of epochs.*or fit a clone$"
            ):
                again(*data)
    steps = tl.config("cosine_decay", decay_steps=12)
    whole = small(schedule=steps, epochs=4).fit(*data)
    parts = small(schedule=steps, epochs=2, warm_start=True).fit(*data).fit(*data)
    np.testing.assert_array_equal(parts.predict(data[0]), whole.predict(data[0]))


def test_partial_fits_are_epochs_of_one_training(data):
    x, y = data
    whole = small(epochs=2).fit(x, y)
    parts = small()
    for _ in range(2):
        parts.partial_fit(x, y)
    assert parts.loss_curve_ == whole.loss_curve_
    with pytest.raises(ValueError, match="3 features"):
        parts.partial_fit(x[:, :3], y)


def test_examples_of_weight_zero_do_not_count(data):
    x, y = data
    wrong = np.concatenate([y, y + 100])
    weights = np.concatenate([np.ones(96), np.zeros(96)])
    settings = {"batch_size": 500, "epochs": 30, "learning_rate": 0.05}
    weighted = small(**settings).fit(np.tile(x, (2, 1)), wrong, sample_weight=weights)
    np.testing.assert_allclose(
        weighted.predict(x), small(**settings).fit(x, y).predict(x), rtol=1e-3, atol=1e-3
    )


def test_several_outputs_are_predicted(data):
    x, y = data
    both = small().fit(x, np.stack([y, -y], axis=1))
    assert both.predict(x).shape == (96, 2) and both.n_outputs_ == 2


def test_a_pickle_predicts_the_same_bits_in_another_process(fitted, data, tmp_path):
    np.save(tmp_path / "x.npy", data[0])
    (tmp_path / "estimator.pkl").write_bytes(pickle.dumps(fitted))
    code = (
        "import pickle, numpy as np\n"
        "found = pickle.load(open('estimator.pkl', 'rb'))\n"
        "np.save('y.npy', found.predict(np.load('x.npy')))\n"
    )
    output_of("-c", code, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), fitted.predict(data[0]))


BUILDERS = """
import keras

def linear(shape, outputs):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(outputs)])

def with_lambda(shape, outputs):
    double = keras.layers.Lambda(lambda x: 2 * x)
    return keras.Sequential([keras.Input(shape), double, keras.layers.Dense(outputs)])
"""


@pytest.fixture
def builders(tmp_path, monkeypatch):
    """Return a module with two functions that build models."""
    import importlib

    (tmp_path / "estimator_models.py").write_text(BUILDERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("estimator_models")
    sys.modules.pop("estimator_models", None)


def test_a_model_is_a_function_of_a_module_pickled_by_its_name(builders, data):
    fitted = small(model=builders.linear, hidden=None).fit(*data)
    read = pickle.loads(pickle.dumps(fitted))
    assert read.model == "estimator_models:linear"
    np.testing.assert_array_equal(read.predict(data[0]), fitted.predict(data[0]))
    named = small(model="estimator_models:linear", hidden=None).fit(*data)
    np.testing.assert_array_equal(named.predict(data[0]), fitted.predict(data[0]))


@pytest.mark.filterwarnings("ignore:The object being serialized includes a .lambda")
def test_code_is_not_pickled(builders, data):
    fitted = small(model="estimator_models:with_lambda", hidden=None).fit(*data)
    assert fitted.predict(data[0]).shape == (96,)
    with pytest.raises(ValueError, match="the model has a Lambda layer, whose code no pickle"):
        pickle.dumps(fitted)
    with pytest.raises(ValueError, match="<lambda>: must be a function of a module"):
        small(model=lambda shape, outputs: None, hidden=None).fit(*data)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden": None, "depth": 2, "optimizer": "sdg"}, "unknown optimizer 'sdg'"),
        ({"optimizer": {"momentum": 0.9}}, "optimizer must have a name"),
        ({"loss": "hinge"}, "loss hinge is for classes"),
        ({"model": "autoencoder"}, "reconstructs its inputs"),
        ({"validation_fraction": 1.0}, "validation_fraction must be at least 0 and below 1"),
        ({"validation_fraction": 0.0, "early_stopping": True}, "early_stopping needs validation"),
        ({"validation_fraction": 0.001}, "keeps 0 of n_samples=96"),
        ({"random_state": -1}, "random_state must be at least 0"),
        (
            {"config": tl.ExperimentConfig(data=tl.DataConfig(oversample=True))},
            "data.oversample has no effect",
        ),
    ],
)
def test_wrong_parameters_are_refused_at_the_fit(params, message, data):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(*data)


def test_numbers_beyond_float32_are_refused(data):
    with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
        small().fit(data[0] * 1e300, data[1])


def test_functions_are_names_configurations_or_dicts(data):
    forms = ["sgd", tl.config("sgd"), {"name": "sgd"}]
    found = [small(optimizer=x, epochs=1).fit(*data).loss_ for x in forms]
    assert found[0] == found[1] == found[2]
    with pytest.raises(ValueError, match="regularizer is None"):
        Regressor().set_params(regularizer__l2=1.0)
    with pytest.raises(ValueError, match="Invalid parameter 'momentum'"):
        Regressor().set_params(momentum=0.9)
