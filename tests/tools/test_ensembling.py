"""Averages of predictions and the weights in them, beside values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

import trainlib as tl
from trainlib.tools.ensembling import project_onto_simplex
from trainlib.tools.weighted_average import example_losses

RNG = np.random.default_rng(0)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


LOGITS = RNG.normal(size=(4, 200, 3))
Y = RNG.integers(0, 3, 200)
LOGITS[np.arange(4)[:, None], np.arange(200), Y] += np.array([0.2, 1.0, 1.5, 0.7])[:, None]
P = softmax(LOGITS)


def nll(w):
    return -np.log(np.tensordot(w, P, 1)[np.arange(200), Y]).mean()


def test_the_mean_has_the_given_weights():
    f = [[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]]
    assert tl.average_predictions(f).tolist() == [[0.5, 0.5]]
    assert tl.average_predictions(f, [2, 1, 1]).tolist() == [[0.625, 0.375]]


def test_averaged_logits_are_a_normalized_geometric_mean():
    w = np.array([0.1, 0.2, 0.3, 0.4])
    expected = softmax(np.tensordot(w, LOGITS, 1))
    np.testing.assert_allclose(tl.average_predictions(P, w, average="logits"), expected, rtol=1e-12)


def test_averaged_logits_of_a_sigmoid_average_the_log_odds():
    p = [[[0.8]], [[0.5]]]  # odds 4 and 1: their geometric mean is 2
    found = tl.average_predictions(p, average="logits", loss="binary_crossentropy")
    assert found == pytest.approx(2 / 3)


def test_a_certain_member_leaves_finite_logits():
    found = tl.average_predictions([[[1.0, 0.0]], [[0.0, 1.0]]], average="logits")
    np.testing.assert_allclose(found, [[0.5, 0.5]])
    sure = tl.average_predictions([[[1.0]], [[0.0]]], average="logits", loss="binary_crossentropy")
    assert 0 < sure[0, 0] < 1


def test_the_nearest_point_of_the_simplex():
    np.testing.assert_allclose(project_onto_simplex(np.array([0.5, 0.5])), [0.5, 0.5])
    np.testing.assert_allclose(project_onto_simplex(np.array([2.0, 0.0])), [1, 0])
    np.testing.assert_allclose(project_onto_simplex(np.array([0.8, 0.6, -1.0])), [0.6, 0.4, 0])


def test_least_squares_weights_are_those_of_the_normal_equations():
    """Of two unbiased models with independent errors of variance 1 and 4 the shares are 4 to 1."""
    errors = np.array([[1.0, 1.0, -1.0, -1.0], [2.0, -2.0, 2.0, -2.0]])
    fit = tl.simplex_weights(errors[:, :, None], np.zeros([4, 1]), loss="squared_error")
    np.testing.assert_allclose(fit.weights, [0.8, 0.2], atol=1e-6)
    assert fit.loss == pytest.approx(0.8)
    assert fit.equal_loss == pytest.approx(1.25)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_no_other_point_of_the_simplex_has_a_lower_loss(average):
    fit = tl.simplex_weights(P, Y, average=average)
    assert fit.weights.sum() == pytest.approx(1)
    assert fit.loss < fit.equal_loss

    def loss(w):
        f = tl.average_predictions(P, w, average=average)
        return -np.log(f[np.arange(200), Y]).mean()

    assert fit.loss == pytest.approx(loss(fit.weights), rel=1e-12)
    for other in RNG.dirichlet(np.ones(4), 50):
        for share in (1e-3, 0.1, 1):
            assert loss((1 - share) * fit.weights + share * other) >= fit.loss - 1e-9


def test_useless_models_get_no_weight():
    p = np.concatenate([P, np.full([1, 200, 3], 1e-6)])
    assert tl.simplex_weights(p, Y).weights[-1] == 0


def test_binary_probabilities_of_one_output_take_their_classes():
    p = RNG.uniform(0.1, 0.9, (3, 60, 1))
    y = (RNG.random(60) < p[0, :, 0]).astype(int)
    fit = tl.simplex_weights(p, y, loss="binary_crossentropy")
    both = np.concatenate([1 - p, p], axis=2)
    np.testing.assert_allclose(tl.simplex_weights(both, y).weights, fit.weights, atol=1e-4)
    assert tl.simplex_weights(both, y).loss == pytest.approx(fit.loss, abs=1e-8)


def test_greedy_selection_takes_a_model_again():
    """Targets at 1/4 of the way: 3 parts of the first and 1 of the second, and no better mix."""
    f = np.array([[[0.0], [0.0]], [[4.0], [8.0]]])
    fit = tl.greedy_selection(f, [[1.0], [2.0]], rounds=7, loss="squared_error")
    assert fit.weights.tolist() == [0.75, 0.25]
    assert fit.loss == 0


def test_greedy_selection_begins_with_the_best_model_and_never_ends_worse():
    alone = [nll(e) for e in np.eye(4)]
    one = tl.greedy_selection(P, Y, rounds=1)
    assert one.weights.tolist() == np.eye(4)[np.argmin(alone)].tolist()
    many = tl.greedy_selection(P, Y, rounds=40)
    assert many.loss <= one.loss
    assert tl.simplex_weights(P, Y).loss <= many.loss + 1e-9
    assert (many.weights * 40 <= 40).all() and many.weights.sum() == pytest.approx(1)


def test_losses_of_examples_by_hand():
    p = [[0.25, 0.75], [0.5, 0.5]]
    np.testing.assert_allclose(example_losses(p, [1, 0]), -np.log([0.75, 0.5]))
    np.testing.assert_allclose(
        example_losses(p, [[0, 1], [1, 0]], "binary_crossentropy"), -2 * np.log([0.75, 0.5])
    )
    np.testing.assert_allclose(example_losses([[1.0], [3.0]], [2, 0], "squared_error"), [1, 9])


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((P[0],), {}, r"predictions must have shape \[M, N, K\], got \[200, 3\]"),
        ((P, [1, 1]), {}, "weights must be 4 numbers"),
        ((P, [1, 1, 1, -1]), {}, "weights must be 4 numbers"),
        ((P * np.nan,), {}, "those of model 0 are not"),
        ((P,), {"average": "median"}, "average"),
        ((P,), {"average": "logits", "loss": "squared_error"}, "the models predict numbers"),
    ],
)
def test_what_cannot_be_averaged_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        tl.average_predictions(*arguments, **options)


@pytest.mark.parametrize("fit", [tl.simplex_weights, tl.greedy_selection])
def test_targets_that_do_not_match_are_refused(fit):
    with pytest.raises(ValueError, match="y_true must have shape"):
        fit(P, Y[:-1])
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        fit(P, Y + 1)
