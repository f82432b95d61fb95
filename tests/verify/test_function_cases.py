"""Schedules, losses, metrics and other functions agree with their peers."""

from __future__ import annotations

import functools

import golden.make as make
import numpy as np
import pytest

import trainlib.registry as registry
from trainlib.verify.compare import TOLERANCES, our_outputs, peer_outputs, relative_error
from trainlib.verify.function_cases import CASES
from trainlib.verify.peers import missing_reason

PLAIN = {(case.kind, case.name): case.title for case in reversed(CASES)}
"""The first form of each function."""
COMPILED = {
    "graph": ("schedule", "monitor", "regularizer", "constraint", "clipping", "loss"),
    "xla": ("schedule", "monitor", "regularizer", "constraint"),
}
"""The kinds whose first forms are compiled too; tests/metrics compiles each kind of state as a
graph, tests/transforms compiles clipping by XLA."""


def runs():
    """Yield cases eagerly, first forms compiled where that is quick, and all in soak."""
    for case in CASES:
        first = PLAIN[case.kind, case.name] == case.title
        for run in case.runs:
            if run == "eager":
                soon = first or case.kind != "monitor"  # whose peers train a model in each case
            else:
                soon = (first and case.kind in COMPILED[run]) or "eager" not in case.runs
            yield pytest.param(case, run, marks=[] if soon else [pytest.mark.soak])


BY_TITLE = {case.title: case for case in CASES}


@pytest.fixture(scope="session")
def golden():
    """The stored outputs of PyTorch and Optax."""
    return dict(np.load(make.FOLDER / "functions.npz"))


@functools.cache
def live(title, peer, dtype):
    return peer_outputs(BY_TITLE[title], peer, dtype)


@pytest.mark.parametrize(
    ("case", "run"), runs(), ids=lambda x: x if isinstance(x, str) else x.title
)
def test_float64_outputs_agree_with_every_peer(case, run, golden):
    ours = our_outputs(case, "float64", run)
    bound = case.rounding.tolerances.get("float64", TOLERANCES["float64"])
    assert bound <= 1e-12 or case.rounding.note
    compared = 0
    for peer in case.peers:
        if peer in make.NOT_EVERYWHERE:
            prefix = f"{peer}|{case.title}|"
            theirs = {k[len(prefix) :]: x for k, x in golden.items() if k.startswith(prefix)}
            mine = {name: make.sample(ours[name]) for name in theirs}
        elif missing_reason(peer, case.needs.get(peer, "")):
            continue
        else:
            theirs, mine = live(case.title, peer, "float64"), ours
        errors = {name: relative_error(mine[name], theirs[name]) for name in theirs}
        assert errors, f"no outputs of {peer}"
        assert max(errors.values()) <= bound, (peer, errors)
        compared += 1
    if not compared:
        pytest.skip("the installed Keras does not have it")


def first_forms():
    """Yield all cases, all but the first form of each function in soak."""
    for case in CASES:
        first = PLAIN[case.kind, case.name] == case.title
        yield pytest.param(case, marks=[] if first else [pytest.mark.soak])


@pytest.mark.parametrize("case", first_forms(), ids=lambda case: case.title)
def test_float32_outputs_agree_with_keras(case):
    if "keras" not in case.peers:
        pytest.skip("Keras does not implement it")
    if missing := missing_reason("keras", case.needs.get("keras", "")):
        pytest.skip(missing)
    ours = our_outputs(case, "float32", "eager" if "eager" in case.runs else "graph")
    theirs = live(case.title, "keras", "float32")
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    bound = case.rounding.tolerances.get("float32", TOLERANCES["float32"])
    assert bound <= 1e-5 or case.rounding.note
    assert max(errors.values()) <= bound, errors


def test_titles_are_unique_and_the_stored_outputs_are_those_of_the_cases(golden):
    assert len(BY_TITLE) == len(CASES)
    kept = {tuple(key.split("|")[:2]) for key in golden}
    assert kept == {(p, c.title) for c in CASES for p in c.peers if p in make.NOT_EVERYWHERE}


@pytest.mark.parametrize("kind", [kind for kind in registry.KINDS if kind != "optimizer"])
def test_every_name_in_the_registry_is_verified(kind):
    verified = {case.name for case in CASES if case.kind == kind}
    assert verified >= set(registry.KINDS[kind])


def test_relative_error_finds_an_error_in_each_element_next_to_nan_and_infinity():
    theirs = np.array([1.0, 1e-6, np.inf, np.nan, 0.0])
    assert relative_error(theirs.copy(), theirs) == 0
    for i, wrong in ((0, 1 + 1e-9), (1, 2e-6), (2, 1.0), (3, 1.0), (2, np.nan), (4, np.nan)):
        ours = theirs.copy()
        ours[i] = wrong
        assert relative_error(ours, theirs) > 9e-10
    with pytest.raises(ValueError, match="shape"):
        relative_error(theirs[:2], theirs)
