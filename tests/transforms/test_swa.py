"""`swa`: the mean of the parameters after some of the updates."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

GRADIENTS = np.random.default_rng(0).normal(size=(9, 3))


def trajectory(*options: int, sgd: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters and their averages after each update, from zeros."""
    tx = tl.chain(tl.sgd(sgd), tl.swa(*options))
    w = tf.zeros([3], tf.float64)
    state, points, averages = tx.init(w), [], []
    for g in GRADIENTS:
        updates, state = tx.update(tf.constant(g), state, w)
        w = tl.apply_updates(w, updates)
        points.append(w.numpy())
        averages.append(tl.averaged_params(state, w).numpy())
    return np.array(points), np.array(averages)


def test_the_average_is_the_mean_of_the_chosen_states() -> None:
    points, averages = trajectory(4, 2)
    np.testing.assert_array_equal(points, -0.5 * GRADIENTS.cumsum(0))  # updates pass through
    np.testing.assert_array_equal(averages[:4], points[:4])
    for t, chosen in ((5, [4]), (6, [4, 6]), (7, [4, 6]), (9, [4, 6, 8])):
        expected = points[[k - 1 for k in chosen]].mean(0)
        np.testing.assert_allclose(averages[t - 1], expected, rtol=1e-14)


def test_it_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    points, averages = trajectory()
    module = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(module)
    for w, a in zip(points, averages, strict=True):
        module.weight.data = torch.tensor(w[None])
        averaged.update_parameters(module)
        np.testing.assert_allclose(a, averaged.module.weight.data.numpy()[0], rtol=1e-12)


@pytest.mark.parametrize(("options", "error"), [((0,), ValueError), ((1, 0.5), TypeError)])
def test_refused_arguments(options: tuple[int, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match="start must be" if len(options) == 1 else "every must be"):
        tl.swa(*options)
