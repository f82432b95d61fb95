"""The optimizers of peers on the test problem."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.registry import OPTIMIZERS
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer


@pytest.mark.parametrize(
    ("peer", "name", "options"),
    [("Adadelta", "adadelta", {"rho": 0.9}), ("SGD", "sgd", {"weight_decay": 0.25})],
)
def test_an_optimizer_of_keras_takes_numbers_in_float64(peer, name, options):
    problem = make_problem(2, "float64")
    theirs = run_peer("keras", peer, options, problem)
    assert len(theirs) == 2
    assert all(w.dtype == np.float64 for params in theirs for w in params.values())

    def make(learning_rate):
        return OPTIMIZERS[name](learning_rate=learning_rate, convention="keras", **options)

    worst = difference(run_optimizer(make, problem), theirs)
    assert worst.error <= 1e-12, worst
