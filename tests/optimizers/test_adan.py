"""Adan: the paper's form, which no peer has, and its proximal decay."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer


def xie(problem, decay, start):
    """Algorithm 1 with the paper's betas; "zero" is the authors' program, which corrects bias."""
    b1, b2, b3, epsilon = 0.02, 0.08, 0.01, 1e-8
    w, last = dict(problem.start), None
    m, v, n = ({k: np.zeros_like(x) for k, x in w.items()} for _ in range(3))
    path = []
    for t, (rate, noise) in enumerate(zip(problem.rates, problem.noise, strict=True), start=1):
        grads = {k: problem.curvature[k] * w[k] + noise[k] for k in w}
        for k, g in grads.items():
            d = g - last[k] if last else 0 * g
            m[k] = (1 - b1) * m[k] + b1 * g
            v[k] = (1 - b2) * v[k] + b2 * d
            n[k] = (1 - b3) * n[k] + b3 * (g + (1 - b2) * d) ** 2
            c1 = c2 = c3 = 1.0
            if start == "zero":
                c1, c2, c3 = 1 - (1 - b1) ** t, 1 - (1 - b2) ** t, 1 - (1 - b3) ** t
            elif t == 1:
                m[k], v[k], n[k] = g, 0 * g, g**2
            eta = rate / (np.sqrt(n[k] / c3) + epsilon)
            w[k] = (w[k] - eta * (m[k] / c1 + (1 - b2) * v[k] / c2)) / (1 + decay * rate)
        last = grads
        path.append(dict(w))
    return path


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_paper_form_is_algorithm_1(start, decay):
    problem = make_problem(40, shapes={"scalar": (), "wide": (3, 6)})
    options = {"start": start, "weight_decay": decay, "convention": "paper"}
    ours = run_optimizer(lambda **rate: tl.adan(**rate, **options), problem)
    assert difference(ours, xie(problem, decay, start)).error < 1e-12


def test_first_difference_is_zero():
    tx = tl.adan(beta_1=0.5, beta_2=0.5, convention="optax")
    w, g = tf.constant([1.0]), tf.constant([4.0])
    state = tx.init(w)
    assert type(state)._fields == ("step", "m", "v", "n", "g")
    _, state = tx.update(g, state, w)
    np.testing.assert_array_equal([state.m, state.v, state.g], [[2.0], [0.0], [4.0]])
    _, state = tx.update(2 * g, state, w)
    np.testing.assert_array_equal(state.v, [2.0])


def test_proximal_decay_follows_the_mask_and_skips_gradients_of_none():
    tx = tl.adan(0.5, weight_decay=2.0, decay_mask=lambda path: path != "b", convention="paper")
    params = {"a": tf.constant(3.0), "b": tf.constant(3.0), "c": tf.constant(3.0)}
    grads = {"a": tf.constant(0.0), "b": tf.constant(0.0), "c": None}
    updates, _ = tx.update(grads, tx.init(params), params)
    moved = tl.apply_updates(params, updates)
    assert [float(w) for w in moved.values()] == [1.5, 3.0, 3.0]
    updates, _ = tx.update(grads | {"a": None}, tx.init(params), params)
    assert updates["a"] is None and float(updates["b"]) == 0.0
