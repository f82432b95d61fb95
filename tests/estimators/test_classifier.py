"""`TrainlibClassifier`: classes, labels, weights, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_blobs, make_multilabel_classification

import trainlib as tl

Classifier = tl.estimators.TrainlibClassifier
GRAPH = tl.ExperimentConfig(execution="graph")


def small(**params):
    """Return a small classifier that needs no compiler."""
    settings = {"hidden": (8,), "epochs": 8, "learning_rate": 0.05, "random_state": 0}
    return Classifier(**{**settings, "config": GRAPH, **params})


@pytest.fixture(scope="module")
def blobs():
    """Return points of three classes with names."""
    x, y = make_blobs(90, random_state=0)
    return x, np.array(["b", "a", "c"])[y]


@pytest.fixture(scope="module")
def fitted(blobs):
    """Return a classifier of the points."""
    return small(early_stopping=True).fit(*blobs)


def test_classes_of_text_are_predicted(fitted, blobs):
    x, y = blobs
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert fitted.score(x, y) > 0.85
    probabilities = fitted.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(1)], fitted.predict(x))


def test_the_validation_score_is_the_accuracy(fitted):
    assert 0 <= min(fitted.validation_scores_) <= fitted.best_validation_score_ <= 1
    held_out = 9  # 0.1 of the examples
    multiples = np.array(fitted.validation_scores_) * held_out
    np.testing.assert_allclose(multiples, multiples.round(), atol=1e-5)


def test_class_weights_multiply_sample_weights(blobs):
    x, y = blobs
    by_class = small(class_weight={"a": 3.0}).fit(x, y, sample_weight=np.full(90, 2.0))
    by_example = small().fit(x, y, sample_weight=np.where(y == "a", 6.0, 2.0))
    np.testing.assert_array_equal(by_class.predict_proba(x), by_example.predict_proba(x))


def test_class_weights_may_be_of_classes_that_some_data_lack(blobs):
    x, y = blobs
    only = y != "c"
    weighted = small(class_weight={"b": 2.0, "c": 3.0})
    weighted.partial_fit(x[only], y[only], classes=["a", "b", "c"])
    by_example = small().partial_fit(
        x[only], y[only], ["a", "b", "c"], np.where(y[only] == "b", 2.0, 1.0)
    )
    np.testing.assert_array_equal(weighted.predict_proba(x), by_example.predict_proba(x))


def test_validation_examples_have_no_class_weights(blobs):
    x, y = blobs
    only = y != "c"
    weighted = small(class_weight={"a": 0.0}, epochs=1)
    weighted.fit(x, y, X_val=x[only], y_val=y[only])
    assert weighted.validation_scores_ == [pytest.approx(weighted.score(x[only], y[only]))]


def test_class_weights_of_digits_as_text_or_numbers(blobs):
    x, y = blobs[0], np.unique(blobs[1], return_inverse=True)[1]
    of_numbers = small(class_weight={1: 5.0}, epochs=1).fit(x, y)
    for labels in (y.astype(str), y.astype(str).astype(object)):
        of_text = small(class_weight={"1": 5.0}, epochs=1).fit(x, labels)
        np.testing.assert_array_equal(of_text.predict_proba(x), of_numbers.predict_proba(x))
    unweighted = small(epochs=1).fit(x, y)
    assert not np.array_equal(unweighted.predict_proba(x), of_numbers.predict_proba(x))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"d": 1.0}, "^class_weight: there is no class 'd'; the classes are 'a', 'b', 'c'$"),
        ({"a": 1.0, 0: 2.0}, "there is no class 0"),
    ],
)
def test_class_weights_of_other_classes_are_refused(weights, message, blobs):
    with pytest.raises(ValueError, match=message):
        small(class_weight=weights).fit(*blobs)


def test_labels_are_predicted_one_by_one():
    x, y = make_multilabel_classification(60, 4, n_classes=3, random_state=0)
    fitted = small().fit(x, y)
    probabilities, predicted = fitted.predict_proba(x), fitted.predict(x)
    assert predicted.dtype == y.dtype and probabilities.shape == (60, 3)
    np.testing.assert_array_equal(predicted, probabilities > 0.5)
    assert (predicted == y).mean() > 0.6


@pytest.mark.parametrize("weights", ["balanced", "0:5"])
def test_labels_have_no_class_weights(weights):
    x, y = make_multilabel_classification(60, 4, n_classes=3, random_state=0)
    config = tl.ExperimentConfig(execution="graph", data=tl.DataConfig(class_weight=weights))
    with pytest.raises(ValueError, match="class_weight is for one class of each example"):
        small(config=config).fit(x, y)


def test_partial_fit_needs_the_classes_first(blobs):
    x, y = blobs
    parts = small()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        parts.partial_fit(x, y)
    only_a = y == "a"
    parts.partial_fit(x[only_a], y[only_a], classes=["a", "b", "c"]).partial_fit(x, y)
    assert parts.classes_.tolist() == ["a", "b", "c"] and parts.n_iter_ == 2
    with pytest.raises(ValueError, match="y has the classes .*'d'"):
        parts.partial_fit(x[:2], ["a", "d"])
    parts.partial_fit(x, y, classes=["c", "b", "a"])
    with pytest.raises(ValueError, match="classes is .*'d'.* but the first fit had"):
        parts.partial_fit(x, y, classes=["a", "b", "c", "d"])


def test_a_loss_of_scores_has_no_probabilities(blobs):
    hinge = small(loss="categorical_hinge").fit(*blobs)
    assert hinge.score(*blobs) > 0.5
    with pytest.raises(AttributeError, match="predict_proba"):
        hinge.predict_proba(blobs[0])


def test_images_of_bytes_are_scaled():
    images = np.random.default_rng(0).integers(0, 256, size=(24, 6, 6), dtype=np.uint8)
    y = images.mean((1, 2)) > 127
    fitted = small(epochs=1).fit(images, y)
    assert fitted.predict(images).shape == (24,)
    assert fitted.build_model().layers[0].name == "scale"
    with pytest.raises(ValueError, match=r"examples of shape \(6, 5\)"):
        fitted.predict(images[:, :, :5])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(90), "y has 1 class"),
        (np.linspace(0, 1, 90), "Unknown label type: continuous"),
        (np.tile([[0, 1], [2, 1]], (45, 1)), "MultiOutputClassifier"),
    ],
)
def test_targets_that_are_no_classes_are_refused(y, message, blobs):
    with pytest.raises(ValueError, match=message):
        small().fit(blobs[0], y)


def test_one_class_of_positive_weight_is_refused(blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="sample_weight leaves examples of 1 class"):
        small().fit(x, y, sample_weight=(y == "a").astype(float))
