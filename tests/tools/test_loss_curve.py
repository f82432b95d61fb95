"""`follow`: the smoothed losses, the end of the test, and the learning rates that it finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.smoothing import weighted_means

import trainlib.tools.loss_curve as loss_curve
from trainlib.tools.loss_curve import RangeTest

RNG = np.random.default_rng(0)
STEPS = 100
RATES = 1e-7 * 1e8 ** (np.arange(STEPS + 1) / STEPS)


def follow(losses, *, on_step=None, **options):
    """The range test of a run whose batches have these losses, whatever the learning rate."""
    return loss_curve.follow(iter(losses), RATES, RangeTest(**options), on_step)


def valley(*, centre=50, width=4.0, bottom=80, high=10.0, low=1.0):
    """Losses that fall along a logistic curve, and rise again after the bottom."""
    k = np.arange(STEPS + 1)
    falling = low + (high - low) / (1 + np.exp((k - centre) / width))
    return np.where(k <= bottom, falling, falling + (k - bottom) * 0.1)


@pytest.mark.parametrize("s", [0.0, 0.5, 0.9, 0.99])
def test_smoothed_losses_are_means_with_geometric_weights(s):
    losses = valley() + RNG.normal(scale=0.1, size=STEPS + 1)
    result = follow(losses, smoothing=s)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-15)
    np.testing.assert_allclose(result.smoothed, weighted_means(losses, s), rtol=1e-12)


def steps_of(losses, **options):
    """Number of steps of the test, whether or not it finds a rate."""
    seen = []
    try:
        result = follow(losses, on_step=lambda *step: seen.append(step), **options)
    except ValueError:
        return len(seen), None
    assert len(result.rates) == len(result.losses) == len(result.smoothed) == len(seen)
    return len(seen), result.stopped


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_the_test_ends_at_the_first_smoothed_loss_above_the_factor_times_the_lowest(factor):
    losses = valley() * np.where(np.arange(STEPS + 1) > 85, 40, 1)
    smooth = weighted_means(losses, 0.9)
    above = np.flatnonzero(smooth > factor * np.minimum.accumulate(smooth))
    assert 85 < above[0] < STEPS
    assert steps_of(losses, diverge_factor=factor) == (above[0] + 1, "diverged")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_test(bad):
    losses = valley()
    losses[90] = bad
    result = follow(losses)
    assert (len(result.losses), result.stopped) == (91, "nan")
    np.testing.assert_array_equal(result.losses[-1], bad)
    assert result.tenth_of_minimum == pytest.approx(follow(valley()).tenth_of_minimum)


def test_an_easy_batch_ends_the_test_only_with_best_of_raw():
    losses = valley()
    losses[60] = 0.1
    smooth = weighted_means(losses, 0.9)
    assert smooth[60] > 4 * 0.1
    assert steps_of(losses, best_of="smoothed") == (STEPS + 1, "end")
    assert steps_of(losses, best_of="raw")[0] == 61


def test_negative_losses_diverge_by_their_distance_from_the_lowest():
    losses = valley() - 20  # from -10 down to -19
    assert steps_of(losses) == (STEPS + 1, "end")
    losses[90:] = 1e6
    assert steps_of(losses) == (91, "diverged")


def test_a_loss_of_zero_counts_like_any_other():
    losses = valley()
    losses[70] = 0.0
    result = follow(losses)
    assert len(result.losses) == STEPS + 1
    np.testing.assert_allclose(result.smoothed, weighted_means(losses, 0.9), rtol=1e-12)


def test_without_smoothing_the_three_rates_are_those_of_a_logistic_descent():
    result = follow(valley(), smoothing=0.0)
    assert result.steepest == pytest.approx(RATES[50])  # the centre
    assert result.tenth_of_minimum == pytest.approx(RATES[80] / 10)
    assert result.suggestion == pytest.approx(RATES[52])  # 1 - 1 / (1 + exp(2 / 4)) = 0.62


def test_the_three_rates_follow_their_definitions():
    losses = valley() + RNG.normal(scale=0.5, size=STEPS + 1)
    result = follow(losses)
    smooth, w, h = weighted_means(losses, 0.9), 10, 5
    m = max(range(w, STEPS + 1), key=lambda k: -smooth[k])
    slopes = {k: smooth[k + h] - smooth[k - h] for k in range(w, m - h + 1)}
    assert result.steepest == pytest.approx(RATES[min(slopes, key=slopes.get)])
    assert result.tenth_of_minimum == pytest.approx(RATES[m] / 10)
    goal = smooth[w] - 0.6 * (smooth[w] - smooth[m])
    assert result.suggestion == pytest.approx(
        RATES[next(k for k in range(w, m) if smooth[k] <= goal)]
    )


def test_the_ignored_ends_of_the_curve_change_no_rate():
    plain = follow(valley(), diverge_factor=100)
    lucky = valley()
    lucky[0] = 0.5  # the first smoothed loss is this one alone
    lucky[90:] = 50
    lucky[97:] = 40  # a fast fall after the explosion
    result = follow(lucky, diverge_factor=100)
    assert result.smoothed[0] < result.smoothed[10:].min()
    for name in ("steepest", "tenth_of_minimum"):
        assert getattr(result, name) == getattr(plain, name)
    assert result.suggestion == pytest.approx(plain.suggestion, rel=0.3)


@pytest.mark.parametrize("bottom", [12, 15])
def test_an_early_minimum_has_its_rates_too(bottom):
    result = follow(valley(centre=bottom - 4, width=1.0, bottom=bottom), diverge_factor=100)
    for name in ("steepest", "suggestion"):
        assert RATES[10] <= getattr(result, name) <= 10 * result.tenth_of_minimum


def test_on_step_is_called_after_each_step():
    seen = []
    result = follow(valley(), on_step=lambda *step: seen.append(step))
    assert [step for step, *_ in seen] == list(range(STEPS + 1))
    np.testing.assert_array_equal(
        np.array([rest for _, *rest in seen]),
        np.stack([result.rates, result.losses, result.smoothed], axis=1),
    )


def test_a_loss_that_does_not_fall_raises_an_error():
    noise = 5 + np.random.default_rng(0).normal(size=STEPS + 1)
    with pytest.raises(
        ValueError, match="between learning rates 1e-07 and 10 the loss fell by no more"
    ):
        follow(noise)


@pytest.mark.parametrize(
    ("explosion", "message"),
    [
        (1e9, "the loss diverged at learning rate 4.37e-07, step 8, and had not fallen before"),
        (
            math.nan,
            "the loss was nan at learning rate 4.37e-07, step 8, .*: give a smaller start_lr",
        ),
    ],
)
def test_a_loss_that_diverges_before_it_falls_raises_an_error(explosion, message):
    losses = np.full(STEPS + 1, 3.0)
    losses[8:] = explosion
    with pytest.raises(ValueError, match=message):
        follow(losses)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_raises_an_error(bad):
    losses = valley()
    losses[0] = bad
    with pytest.raises(ValueError, match=f"the first loss is {bad}, before any update"):
        follow(losses)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"start_lr": 0.0}, ValueError, "start_lr must be above 0, got 0.0"),
        ({"start_lr": "a"}, TypeError, "start_lr must be a number, got 'a'"),
        ({"end_lr": 1e-7}, ValueError, "end_lr must be above 1e-07, got 1e-07"),
        ({"end_lr": math.inf}, ValueError, "end_lr must be finite and above 1e-07, got inf"),
        ({"max_steps": 9}, ValueError, "max_steps must be at least 10, got 9"),
        ({"max_steps": 20.0}, TypeError, "max_steps must be an integer, got 20.0"),
        ({"smoothing": 1.0}, ValueError, "smoothing must be at least 0 and below 1, got 1.0"),
        ({"diverge_factor": 1}, ValueError, "diverge_factor must be above 1, got 1"),
        ({"best_of": "row"}, ValueError, "unknown best_of 'row': did you mean 'raw'?"),
    ],
)
def test_options_out_of_range_are_named_in_the_error(options, kind, message):
    with pytest.raises(kind, match=message):
        RangeTest(**options)
