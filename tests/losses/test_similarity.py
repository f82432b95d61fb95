"""Cosine similarity and the circle loss."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib.losses as losses


def units(n, seed=0):
    z = np.random.default_rng(seed).normal(size=(n, 3))
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def circle_of_one(i, labels, z, others, other_labels, gamma, margin, skip):
    """The paper's sum over pairs of a positive and a negative one."""
    cosines = z[i] @ others.T
    total = 0.0
    for j, sp in enumerate(cosines):
        if other_labels[j] != labels[i] or (skip and i == j):
            continue
        for k, sn in enumerate(cosines):
            if other_labels[k] != labels[i]:
                an, ap = max(sn + margin, 0), max(1 + margin - sp, 0)
                total += np.exp(gamma * (an * (sn - margin) - ap * (sp - 1 + margin)))
    return np.log1p(total)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("references", [False, True])
def test_circle_follows_the_equation_of_the_paper(references, skip, execution):
    labels, z = np.array([0, 0, 1, 1, 2, 0]), units(6)
    others, other_labels = (units(8, 1), np.arange(8) % 3) if references else (z, labels)
    options = {"gamma": 6.0, "margin": 0.25, "remove_diagonal": skip}
    given = {"ref_labels": other_labels, "ref_embeddings": others} if references else {}
    found = execution(lambda y, p: losses.circle(y, p, **given, **options))(labels, z)
    expected = [
        circle_of_one(i, labels, z, others, other_labels, 6.0, 0.25, skip) for i in range(6)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_an_example_without_a_pair_does_not_count_and_has_a_finite_gradient(dtype, execution):
    @execution
    def both(y, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            loss = losses.circle(y, p)
            total, count = losses.weighted_sum(loss)
        return loss, count, tape.gradient(total, p)

    z = tf.constant(units(4), dtype)
    loss, count, gradient = both(tf.constant([0, 0, 1, 2]), z)
    assert loss.mask.numpy().tolist() == [True, True, False, False]
    assert count == 2
    assert np.isfinite(gradient.numpy()).all()
    loss, count, gradient = both(tf.constant([[0], [0], [0], [0]]), z)
    assert not loss.values.numpy().any()
    assert count == 0
    assert not gradient.numpy().any()


def test_cosine_similarity_ignores_lengths_and_is_0_for_a_zero_vector(execution):
    y, p = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[6, 8.0], [-5, 0], [1, 2]])
    loss = execution(losses.cosine_similarity)
    np.testing.assert_allclose(loss(y, p), [-1, 1, 0], rtol=1e-15)
    np.testing.assert_allclose(loss(1e4 * y, 1e-4 * p), [-1, 1, 0], rtol=1e-15)
    np.testing.assert_allclose(loss(p, y), [-1, 1, 0], rtol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_pred": tf.ones([3])}, "embeddings must have shape"),
        ({"y_true": [0, 1]}, "y_true must have shape"),
        ({"ref_embeddings": tf.ones([2, 2])}, "ref_embeddings need ref_labels, one each"),
        ({"ref_labels": [0, 1]}, "ref_labels must have shape"),
        ({"gamma": 0.0}, "gamma must be above 0, got 0"),
        ({"margin": -0.1}, "margin must be at least 0 and at most 1"),
    ],
)
def test_arguments_of_circle_that_do_not_match_are_rejected(change, message):
    given = {"y_true": [0, 1, 1], "y_pred": tf.ones([3, 2])} | change
    with pytest.raises(ValueError, match=f"^{message}"):
        losses.circle(**given)
