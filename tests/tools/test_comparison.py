"""Contenders over seeds: ranking, learning rates, and differences."""

from __future__ import annotations

import math

import pytest

from trainlib.tools.comparison import (
    Contender,
    SeedRun,
    against,
    best_rate,
    differences,
    part_of_tests,
    ranked,
)


def contender(name, validation, test=()):
    """A contender whose runs have these losses."""
    tests = [{"loss": x} for x in test] or [{}] * len(validation)
    runs = [
        SeedRun(seed, [{"epoch": 1, "loss": 1.0}], {"loss": loss}, tests[seed], 1.0)
        for seed, loss in enumerate(validation)
    ]
    return Contender(name, tuple(runs))


def test_contenders_are_ranked_by_their_mean_on_validation_data_only():
    a, b = contender("a", [1.0, 4.0], [0.1, 0.1]), contender("b", [2.0, 2.5], [9.0, 9.0])
    assert [x.name for x in ranked([a, b], "val_loss", True)] == ["b", "a"]
    assert [x.name for x in ranked([a, b], "val_loss", False)] == ["a", "b"]


def test_contenders_with_failed_or_diverged_runs_come_last_and_are_not_tested():
    good, diverged = contender("good", [5.0, 6.0]), contender("diverged", [1.0, math.nan])
    failed = Contender("failed", (SeedRun(0, failure="ValueError: no"), diverged.runs[0]))
    found = ranked([failed, diverged, good], "val_loss", True)
    assert [x.name for x in found] == ["good", "failed", "diverged"]
    assert [x.status("val_loss") for x in found] == ["", "1 of 2 failed", "1 of 2 diverged"]
    assert differences(found, "val_loss") == []


def test_a_contender_whose_runs_differ_in_kind_says_both():
    runs = (SeedRun(0, failure="no"), SeedRun(1, validation={"loss": math.inf}))
    assert Contender("x", runs).status("val_loss") == "1 of 2 failed, 1 of 2 diverged"


def test_differences_are_of_the_test_part_and_corrected_for_all_pairs():
    a = contender("a", [0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    b = contender("b", [0.0, 0.0, 0.0], [2.0, 4.0, 6.0])
    c = contender("c", [0.0, 0.0, 0.0], [2.0, 3.5, 3.0])
    found = differences([a, b, c], "val_loss")
    assert part_of_tests([a, b, c], "loss") == "test"
    assert [(x.first, x.second) for x in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [x.paired.mean for x in found] == pytest.approx([-2.0, -2.5 / 3, 3.5 / 3])
    # differences -1, -2, -3: t = -2 sqrt(3), p = 0.0742; the smallest of three is multiplied by 3
    assert found[0].corrected == pytest.approx(3 * 0.0741799)


def test_without_a_test_part_differences_are_of_the_validation_part():
    a, b = contender("a", [1.0, 2.0]), contender("b", [2.0, 4.0])
    (found,) = differences([a, b], "val_loss")
    assert part_of_tests([a, b], "loss") == "validation" and found.paired.mean == -1.5


def test_with_a_baseline_only_pairs_with_it_are_tested():
    contenders = [contender(x, [k, 2.0 * k]) for k, x in enumerate("abc", 1)]
    found = differences(contenders, "val_loss", baseline="b")
    assert [(x.first, x.second) for x in found] == [("a", "b"), ("c", "b")]


def test_differences_from_one_contender_have_its_sign():
    contenders = [contender("a", [1.0, 2.0]), contender("b", [2.0, 4.0])]
    found = differences(contenders, "val_loss")
    of_a, of_b = against(found, "a"), against(found, "b")
    assert list(of_a) == ["b"] and of_a["b"].paired.mean == 1.5
    assert list(of_b) == ["a"] and of_b["a"].paired.mean == -1.5
    assert of_a["b"].paired.low == -of_b["a"].paired.high


def test_the_best_learning_rate_is_among_those_that_gave_numbers():
    tuning = {0.1: math.nan, 0.01: 0.5, 0.001: 0.75}
    assert best_rate(tuning, True) == 0.01 and best_rate(tuning, False) == 0.001
    assert best_rate({0.1: math.inf}, True) is None and best_rate({}, True) is None


@pytest.mark.parametrize(("rate", "is_at_end"), [(0.1, True), (0.01, False), (0.001, True)])
def test_a_learning_rate_at_an_end_of_the_range_is_noticed(rate, is_at_end):
    tuning = {0.1: 1.0, 0.01: 1.0, 0.001: 1.0}
    assert Contender("x", (), tuning, rate).is_rate_at_end is is_at_end
