"""Temperature scaling: the fitted number beside a search, and the model that has it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import has_preprocessing, with_temperature
from trainlib.tools.calibration import calibration_at

RNG = np.random.default_rng(0)
TRUE_TEMPERATURE = 2.5
LOGITS = RNG.normal(scale=4, size=(20000, 3))


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def drawn(p):
    """A class for each row of probabilities."""
    return (p.cumsum(1) < RNG.random([len(p), 1])).sum(1)


Y = drawn(softmax(LOGITS / TRUE_TEMPERATURE))


def nll(temperature, z=LOGITS, y=Y):
    return -np.log(softmax(z / temperature)[np.arange(len(y)), y]).mean()


def test_the_temperature_that_drew_the_classes_is_found_and_calibrates():
    fit = tl.fit_temperature(LOGITS, Y)
    assert fit.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.03)
    assert (fit.nll_before, fit.nll_after) == pytest.approx((nll(1), nll(fit.temperature)))
    assert fit.ece_before > 0.1 and fit.ece_after < 0.015


def test_no_neighbor_has_a_higher_likelihood():
    fit = tl.fit_temperature(LOGITS[:300], Y[:300])
    best = nll(fit.temperature, LOGITS[:300], Y[:300])
    for factor in (0.999, 1.001):
        assert nll(factor * fit.temperature, LOGITS[:300], Y[:300]) > best


def test_targets_of_each_form_and_weights_give_the_same():
    z, y = LOGITS[:200], Y[:200]
    fit = tl.fit_temperature(z, y)
    assert tl.fit_temperature(z, np.eye(3)[y]) == fit == tl.fit_temperature(z, y)
    times = np.arange(200) % 3
    repeated = tl.fit_temperature(np.repeat(z, times, axis=0), np.repeat(y, times))
    assert tl.fit_temperature(z, y, times) == pytest.approx(repeated, rel=1e-9)


def test_two_classes_by_a_softmax_and_by_a_sigmoid_agree():
    y = np.arange(500) % 2
    z = RNG.normal((2 * y - 1)[:, None] * [-1.0, 1.0], 2.0)
    of_one = tl.fit_temperature(z[:, 1:] - z[:, :1], y, activation="sigmoid")
    assert of_one.temperature == pytest.approx(tl.fit_temperature(z, y).temperature, rel=1e-9)


@pytest.mark.parametrize(
    ("logits", "y", "message"),
    [
        ([[2.0, 0.0], [0.0, 1.0]], [0, 1], "classify every example correctly"),
        ([[2.0, 0.0], [0.0, 1.0]], [1, 0], "no better than chance"),
        ([[2.0, np.inf]], [0], "must be finite"),
        ([[2.0, 1.0]], [2], "classes from 0 to 1, got 2 to 2"),
        ([2.0, 1.0], [1, 0], "logits must have shape"),
    ],
)
def test_logits_without_a_best_temperature_are_refused(logits, y, message):
    with pytest.raises(ValueError, match=message):
        tl.fit_temperature(logits, y)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    made = tl.models.mlp((3,), 3, "softmax", hidden=(), preprocessing=[keras.layers.Rescaling(1.0)])
    made.layers[-2].set_weights([np.eye(3), np.zeros(3)])
    return made


def test_a_calibrated_model_predicts_the_scaled_softmax_and_is_saved_with_it(model, tmp_path):
    x = LOGITS[:4000].astype("float32")
    calibrated, fit = tl.calibrate(model, (x, Y[:4000]))
    expected = softmax(x.astype("float64") / fit.temperature)
    np.testing.assert_allclose(calibrated.predict(x, verbose=0), expected, atol=1e-6)
    calibrated.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x[:5], verbose=0), expected[:5], atol=1e-6)
    again, second = tl.calibrate(calibrated, (x, Y[:4000]))
    assert second == fit and len(again.layers) == len(calibrated.layers)


def test_a_model_that_ends_in_a_nested_one_is_calibrated():
    keras.utils.set_random_seed(0)
    end = [keras.Input((3,)), keras.layers.Dense(3), keras.layers.Softmax(name="nested")]
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="nested"), keras.Sequential(end)]
    )
    calibrated = with_temperature(model, 2.0)
    x = LOGITS[:5].astype("float32")
    p = model(x).numpy() ** 0.5
    np.testing.assert_allclose(calibrated(x), p / p.sum(1, keepdims=True), rtol=1e-5)
    whole = keras.Sequential([keras.Input((3,)), calibrated])
    np.testing.assert_allclose(with_temperature(whole, 1.0)(x), model(x), rtol=1e-5)


def test_the_temperature_is_no_scaling_of_the_input():
    plain = tl.models.mlp((3,), 3, "softmax", hidden=())
    assert not has_preprocessing(with_temperature(plain, 2.0))


def test_models_without_a_separate_softmax_are_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(ValueError, match="whose last layer is a separate softmax or sigmoid"):
        with_temperature(model, 2.0)


def test_the_effect_of_a_temperature_is_measured_on_other_data():
    found = calibration_at(TRUE_TEMPERATURE, LOGITS[:2000], Y[:2000])
    assert found.temperature == TRUE_TEMPERATURE
    assert found.nll_after == pytest.approx(nll(TRUE_TEMPERATURE, LOGITS[:2000], Y[:2000]))
    assert found.ece_after < found.ece_before


def test_each_sigmoid_output_has_a_calibration_error_of_its_own():
    z = np.tile([[4.0, -4.0, 0.0]], [8, 1])
    y = np.tile([[1, 0, 1], [1, 0, 0]], [4, 1])  # right, right, as often right as not
    found = calibration_at(1.0, z, y, activation="sigmoid")
    off = 1 - 1 / (1 + np.exp(-4.0))
    assert found.ece_before == pytest.approx(2 * off / 3, rel=1e-6)
