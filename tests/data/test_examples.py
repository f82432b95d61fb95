"""The splits of examples into parts."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.data import Examples, split, take
from trainlib.data.examples import split_by_class, split_indices, split_test


def examples(n: int) -> Examples:
    return Examples(np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.int32))


def test_size_counts_examples_not_fields() -> None:
    assert examples(7).size == 7


def test_split_takes_the_last_places_of_the_permutation_in_order() -> None:
    train, validation = split(examples(10), 0.3, seed=4)
    order = np.random.default_rng(4).permutation(10)
    assert train.y.tolist() == sorted(order[:7])
    assert validation.y.tolist() == sorted(order[7:])
    assert np.array_equal(validation.x[:, 0], validation.y)


def test_split_is_pure_and_depends_on_the_seed() -> None:
    first, again, other = (split(examples(50), 0.5, seed)[1].y for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_split_by_zero_keeps_every_example() -> None:
    train, validation = split(examples(5), 0.0, seed=0)
    assert (train.size, validation.size) == (5, 0)
    assert train.y.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_out_of_range_raises_an_error(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction is"):
        split(examples(5), fraction, seed=0)


def test_a_split_without_training_examples_raises_an_error() -> None:
    with pytest.raises(ValueError, match="none of 2 examples"):
        split(examples(2), 0.9, seed=0)


def test_a_negative_seed_raises_an_error() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        split(examples(5), 0.2, seed=-1)


def test_the_test_part_does_not_depend_on_the_seed() -> None:
    train, test = split_test(examples(10), "it")
    assert test.y.tolist() == sorted(np.random.default_rng(0).permutation(10)[8:])
    assert train.size == 8


def test_too_few_examples_for_a_test_part_raise_an_error() -> None:
    with pytest.raises(ValueError, match="it has 2 examples, too few"):
        split_test(examples(2), "it")


def test_take_returns_the_first_examples() -> None:
    assert take(examples(5), 2).y.tolist() == [0, 1]
    assert take(examples(5), 5).size == 5


@pytest.mark.parametrize("n", [0, -1, 6])
def test_take_of_fewer_than_one_or_more_than_all_raises_an_error(n: int) -> None:
    with pytest.raises(ValueError, match=f"n is {n}; give an integer from 1 to 5"):
        take(examples(5), n)


@pytest.mark.parametrize("fraction", [0, 0.1, 0.2, 0.49])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_by_class_has_the_share_of_each_class(fraction: float, seed: int) -> None:
    labels = np.repeat([0, 1, 2, 5], [100, 37, 2, 1])[np.random.default_rng(2).permutation(140)]
    kept, held_out = split_by_class(labels, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(140))
    assert len(held_out) == len(split_indices(140, fraction, seed)[1])
    assert list(kept) == sorted(kept) and list(held_out) == sorted(held_out)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        found = (labels[held_out] == label).sum()
        assert abs(found - fraction * count) <= 1
        assert (labels[kept] == label).sum() >= 1
    again, _ = split_by_class(labels, fraction, seed)
    assert again.tolist() == kept.tolist()


def test_a_split_by_class_depends_on_the_seed() -> None:
    labels = np.arange(100) % 3
    first, other = (split_by_class(labels, 0.2, seed)[1].tolist() for seed in (0, 1))
    assert first != other
