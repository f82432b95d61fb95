"""Dice and Tversky over all examples, whatever the batches, or averaged over the examples."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import value

import trainlib as tl

RNG = np.random.default_rng(0)
Y, P = RNG.integers(0, 2, (9, 4, 4)).astype("float64"), RNG.random((9, 4, 4))
W = RNG.choice([0.0, 1.0, 2.0], 9)
MAKERS = {
    "dice": {},
    "tversky": {"alpha": 0.25, "beta": 0.75},
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_metric_of_parts_is_the_loss_of_the_whole(name):
    options = MAKERS[name]
    metric, loss = getattr(tl.metrics, name)(**options), getattr(tl.losses, name)
    parts = [metric.from_model_output(Y[s], P[s]) for s in (slice(0, 1), slice(1, 9))]
    merged = metric.compute(tl.metrics.merge(*parts))
    assert float(merged) == pytest.approx(float(loss(Y, P, **options)), rel=1e-6)
    repeated = np.repeat(np.arange(9), W.astype(int))
    expected = loss(Y[repeated], P[repeated], **options)
    assert value(metric, Y, P, W) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_with_an_axis_it_is_the_mean_of_the_losses(name):
    options = MAKERS[name] | {"axis": (1, 2)}
    losses = getattr(tl.losses, name)(Y, P, **options)
    metric = getattr(tl.metrics, name)(**options)
    assert value(metric, Y, P, W) == pytest.approx(np.average(losses, weights=W), rel=1e-6)


def test_alpha_may_weigh_the_false_negatives():
    exchanged = tl.metrics.tversky(0.75, 0.25, alpha_weighs="false_negatives")
    assert value(exchanged, Y, P) == value(tl.metrics.tversky(0.25, 0.75), Y, P)
    with pytest.raises(ValueError, match="^unknown alpha_weighs 'fp'"):
        tl.metrics.tversky(alpha_weighs="fp")
