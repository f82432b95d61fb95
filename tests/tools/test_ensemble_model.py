"""The model of an ensemble: its averages, beside NumPy, and as a file that plain Keras opens."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import mlp
from trainlib.tools.ensemble_model import ensemble_model
from trainlib.training.functional_model import as_functional_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype("float32")


def members(count=3, activation="softmax", outputs=3, hidden=(5,)):
    made = []
    for seed in range(count):
        keras.utils.set_random_seed(seed)
        made.append(mlp((4,), outputs, activation, hidden=hidden))
    return made


THREE = members()
P = np.stack([np.asarray(m(X), np.float64) for m in THREE])


def test_probabilities_are_averaged_with_the_weights():
    np.testing.assert_allclose(ensemble_model(THREE)(X), P.mean(0), rtol=2e-6)
    w = np.array([0.5, 0.2, 0.3])
    np.testing.assert_allclose(ensemble_model(THREE, 10 * w)(X), np.tensordot(w, P, 1), rtol=2e-6)


def test_logits_are_averaged_with_the_weights():
    w = np.array([0.5, 0.0, 0.5])
    found = ensemble_model(THREE, w, average="logits")
    g = np.exp(np.tensordot(w, np.log(P), 1))
    np.testing.assert_allclose(found(X), g / g.sum(1, keepdims=True), rtol=2e-6)
    assert [x.name for x in found.layers if "member" in x.name] == ["member_1", "member_3"]


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_members_that_end_in_one_layer_with_its_activation(average):
    made = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        layer = keras.layers.Dense(1, activation="sigmoid")
        made.append(keras.Sequential([keras.Input([4]), layer]))
    p = np.stack([np.asarray(m(X), np.float64) for m in made])
    z = np.log(p / (1 - p)).mean(0)
    expected = p.mean(0) if average == "probabilities" else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(ensemble_model(made, average=average)(X), expected, rtol=1e-5)


def test_numbers_are_averaged():
    made = members(2, None, 1)
    expected = (np.asarray(made[0](X)) + np.asarray(made[1](X))) / 2
    np.testing.assert_allclose(ensemble_model(made)(X), expected, rtol=1e-6)


@pytest.mark.soak
def test_plain_keras_opens_the_file(tmp_path):
    path = tmp_path / "ensemble.keras"
    ensemble_model(THREE, [0.6, 0.2, 0.2]).save(path)
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys, keras, numpy as np; d = sys.argv[1];"
        "p = keras.saving.load_model(d + '/ensemble.keras').predict(np.load(d + '/x.npy'));"
        "assert 'trainlib' not in sys.modules; np.save(d + '/p.npy', p)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    expected = np.tensordot([0.6, 0.2, 0.2], P, 1)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, rtol=2e-6)


def test_a_loaded_ensemble_is_evaluated_with_its_logits_and_takes_a_temperature(tmp_path):
    path = tmp_path / "ensemble.keras"
    ensemble_model(THREE).save(path)
    loaded = tl.models.load_model(str(path))
    assert "member_2/hidden_1/kernel" in as_functional_model(loaded).params
    y = np.arange(20) % 3
    logits = tl.models.logits_model(loaded)
    found = tl.Evaluator(logits, tl.losses.sparse_categorical_crossentropy, from_logits=True)
    expected = -np.log(P.mean(0)[np.arange(20), y]).mean()
    assert found.evaluate((X, y))["loss"] == pytest.approx(expected, rel=1e-5)
    warm = tl.models.with_temperature(loaded, 2.0)(X)
    g = P.mean(0) ** 0.5
    np.testing.assert_allclose(warm, g / g.sum(1, keepdims=True), rtol=1e-5)


def test_an_ensemble_computes_in_another_precision():
    logits = tl.models.logits_model(ensemble_model(THREE))
    p = tl.Evaluator(ensemble_model(THREE), precision="float64").predict(X)
    z = tl.Evaluator(logits, precision="float64").predict(X)
    assert p.dtype == np.float64
    np.testing.assert_allclose(np.exp(z), p, rtol=1e-6)


def test_members_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="at least one member"):
        ensemble_model([])
    with pytest.raises(ValueError, match="member 2 of the ensemble has other inputs"):
        ensemble_model([THREE[0], members(1, outputs=4)[0]])
    with pytest.raises(ValueError, match="average is logits"):
        ensemble_model(members(2, None, 1), average="logits")
    with pytest.raises(ValueError, match="weights must be 3 numbers"):
        ensemble_model(THREE, [1, 2])
