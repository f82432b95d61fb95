"""With default hyperparameters, optimizers follow Keras in float32; eager and graph agree."""

from __future__ import annotations

import keras
import pytest
from helpers.executions import soak_except

import trainlib.registry as registry
from trainlib.verify.compare import difference
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer

PLAIN = {case.optimizer: case for case in reversed(CASES)}
"""The first form of each optimizer."""
OF_KERAS = sorted(name for name, case in PLAIN.items() if "keras" in case.peers)
LOOSER = {"nadam": 1e-5, "schedule_free_adamw": 1e-5}
"""Optimizers that differ by more than 1e-6: in float32 1 - 0.999 has a relative error of 5e-5."""

STEPS = 30
"""Few, because eager steps are slow."""


@pytest.mark.parametrize("name", soak_except("sgd", "adam", "nadam", "lamb", names=OF_KERAS))
def test_defaults_in_float32_agree_with_keras(name):
    peer = PLAIN[name].peers["keras"]
    if not hasattr(keras.optimizers, peer.name):
        pytest.skip(f"the installed Keras does not have {peer.name}")
    problem = make_problem(STEPS, "float32", shapes={"vector": (5,), "wide": (3, 6)})
    theirs = run_peer("keras", peer.name, {}, problem)

    def make(learning_rate):
        return registry.OPTIMIZERS[name](learning_rate=learning_rate, convention="keras")

    worst = difference(run_optimizer(make, problem), theirs)
    assert worst.error <= LOOSER.get(name, 1e-6), worst


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_eager_and_graph_trajectories_agree(name):
    case = PLAIN[name]
    problem = make_problem(STEPS, **case.problem)

    def make(learning_rate):
        return registry.OPTIMIZERS[name](learning_rate=learning_rate, **case.options)

    compiled = run_optimizer(make, problem, "graph")
    worst = difference(run_optimizer(make, problem, "eager"), compiled)
    assert worst.error <= 1e-12, worst
    assert difference(compiled[:1] * STEPS, compiled).error > 1e-3  # the parameters change
