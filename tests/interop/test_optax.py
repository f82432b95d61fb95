"""States of Optax's optimizers, converted by the parameters' paths."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

optax = pytest.importorskip("optax", reason="Optax is not installed")
jax = pytest.importorskip("jax", reason="JAX is not installed")

TITLES = [
    "sgd",
    "sgd (momentum)",
    "adagrad",
    "adadelta",
    "rmsprop",
    "rmsprop (centered, momentum)",
    "rmsprop (bias correction)",
    "rmsprop (bias correction, centered)",
    "adam",
    "adam (amsgrad)",
    "adamw",
    "adamax",
    "nadam",
    "radam",
    "yogi",
    "adabelief",
    "novograd",
    "sm3",
    "ademamix",
    "adan",
    "lion",
    "signum",
    "sign_sgd",
    "rprop",
    "lamb",
    "lars",
    "adafactor",
    "adafactor (momentum)",
    "muon",
    "schedule_free_adamw",
    "prodigy",
]


class Peer:
    """An Optax optimizer on the problem, at the learning rates of its count of updates."""

    def __init__(self, case, start, problem):
        of_peer = case.peers["optax"]
        self.problem = problem
        dtype = next(iter(start.values())).dtype.name
        options = dict(of_peer.options)
        if "dtype_momentum" in options:
            options["dtype_momentum"] = dtype
        self.patch = of_peer.patch or contextlib.nullcontext
        self.x64 = dtype == "float64"
        with self._run():
            rates = jax.numpy.asarray(problem.rates, dtype)
            make = getattr(optax, of_peer.name, None) or getattr(optax.contrib, of_peer.name)
            self.optimizer = make(learning_rate=lambda k: rates[k], **options)
            self.arrays = {name: jax.numpy.asarray(w) for name, w in start.items()}
            self.state = self.optimizer.init(self.arrays)
            # What has many operations runs sooner compiled; the others sooner without.
            many = of_peer.name in ("muon", "adafactor")
            self.update = jax.jit(self._update) if many else self._update

    @contextlib.contextmanager
    def _run(self):
        with self.patch(), jax.enable_x64(self.x64), warnings.catch_warnings():
            # The patches that make powers float64 ask for what float32 does not give.
            warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
            yield

    @property
    def params(self):
        return {name: np.array(w) for name, w in self.arrays.items()}

    def _update(self, arrays, state, noise):
        curvature = self.problem.curvature
        grads = {name: curvature[name] * w + noise[name] for name, w in arrays.items()}
        updates, state = self.optimizer.update(grads, state, arrays)
        return optax.apply_updates(arrays, updates), state

    def step(self, k):
        with self._run():
            self.arrays, self.state = self.update(self.arrays, self.state, self.problem.noise[k])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("title", TITLES)
def test_each_state_makes_a_round_trip(title, dtype, case, our_optimizer, round_trip):
    of = case(title)

    def to_ours(peer):
        optimizer = our_optimizer(of, "optax", peer.problem)
        # Optax's rprop takes no schedule, and counts nothing.
        step = 4 if title == "rprop" else None
        return optimizer, tl.interop.state_from_optax(peer.state, optimizer, peer.params, step)

    def to_theirs(state, peer):
        with jax.enable_x64(dtype == "float64"):
            peer.state = tl.interop.state_to_optax(state, peer.state)

    round_trip(
        lambda start, problem: Peer(of, start, problem), to_ours, to_theirs, dtype, of.problem
    )


PARAMS = {"body": {"kernel": np.ones((2, 3), "float32")}, "head": [np.ones(3, "float32")]}


def begun(optimizer, params=PARAMS):
    """Return the state of an Optax optimizer after an update with gradients of 1."""
    ones = jax.tree.map(np.ones_like, params)
    return optimizer.update(ones, optimizer.init(params), params)[1]


def test_nested_parameters_are_matched_by_their_paths():
    theirs = begun(optax.chain(optax.clip_by_global_norm(1e9), optax.adam(1e-3)))
    state = tl.interop.state_from_optax(theirs, tl.adam(), PARAMS)
    np.testing.assert_allclose(state.m["body"]["kernel"], np.full((2, 3), 0.1), rtol=1e-6)
    back = tl.interop.state_to_optax(state, optax.adam(1e-3).init(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, back, theirs[1])


def test_hyperparameters_in_the_state_are_ignored():
    theirs = begun(optax.inject_hyperparams(optax.adam)(1e-3))
    state = tl.interop.state_from_optax(theirs, tl.adam(), PARAMS)
    assert int(state.step) == 1
    back = tl.interop.state_to_optax(state._replace(step=tf.constant(7, tf.int64)), theirs)
    assert int(back.count) == int(back.inner_state[0].count) == 7
    assert float(back.hyperparams["learning_rate"]) == pytest.approx(1e-3)


def test_names_that_differ_are_in_the_message():
    theirs = begun(optax.adam(1e-3))
    params = {"body": {"kernels": PARAMS["body"]["kernel"]}, "head": PARAMS["head"]}
    with pytest.raises(ValueError) as error:
        tl.interop.state_from_optax(theirs, tl.adam(), params)
    assert str(error.value).splitlines() == [
        "the parameters of trainlib and Optax differ:",
        "  only in trainlib: body/kernels (nearest in Optax: body/kernel)",
        "  only in Optax: body/kernel (nearest in trainlib: body/kernels)",
    ]


def test_shapes_that_differ_are_in_the_message():
    params = {"body": {"kernel": np.ones((3, 2), "float32")}, "head": PARAMS["head"]}
    with pytest.raises(ValueError, match=r"mu of body/kernel has shape \[3, 2\] in trainlib"):
        tl.interop.state_from_optax(begun(optax.adam(1e-3)), tl.adam(), params)


def test_a_state_of_another_optimizer_raises_an_error():
    with pytest.raises(ValueError, match="(?s)slots .*only in Optax: ScaleByLionState.mu"):
        tl.interop.state_from_optax(begun(optax.lion(1e-3)), tl.adam(), PARAMS)
    with pytest.raises(ValueError, match="(?s)slots .*only in trainlib: ScaleByAdamState.nu"):
        tl.interop.state_to_optax(tl.adam().init(PARAMS), begun(optax.lion(1e-3)))


def test_arrays_without_a_counterpart_raise_an_error():
    theirs = begun(optax.chain(optax.ema(0.9), optax.adam(1e-3)))
    with pytest.raises(ValueError, match="only in Optax: EmaState.ema"):
        tl.interop.state_from_optax(theirs, tl.adam(), PARAMS)


def test_a_state_without_a_step_raises_an_error():
    theirs = begun(optax.sgd(1e-3, 0.9))
    tx = tl.sgd(1e-3, 0.9, convention="optax")
    with pytest.raises(ValueError, match="step="):
        tl.interop.state_from_optax(theirs, tx, PARAMS)
    assert int(tl.interop.state_from_optax(theirs, tx, PARAMS, step=1).step) == 1


def test_parts_at_different_steps_raise_an_error():
    theirs = begun(optax.chain(optax.adam(1e-3), optax.scale_by_schedule(lambda k: 1.0)))
    apart = (theirs[0], theirs[1]._replace(count=jax.numpy.asarray(5)))
    with pytest.raises(ValueError, match=r"different steps: \[1, 5\]"):
        tl.interop.state_from_optax(apart, tl.adam(), PARAMS)
