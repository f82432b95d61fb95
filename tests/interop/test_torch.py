"""States of PyTorch's optimizers, converted by parameter name."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

TITLES = [
    "sgd",
    "sgd (momentum)",
    "sgd (nesterov)",
    "sgd (dampening)",
    "adagrad",
    "adadelta",
    "rmsprop",
    "rmsprop (centered, momentum)",
    "adam",
    "adam (amsgrad)",
    "adamw",
    "adamax",
    "nadam",
    "radam",
    "rprop",
    "adafactor",
    "muon (matrices)",
]
UNCOUNTED = ("sgd", "muon")


class Peer:
    """A PyTorch optimizer on the problem."""

    def __init__(self, case, start, problem):
        self.problem, self.steps = problem, 0
        self.tensors = {name: torch.tensor(w) for name, w in start.items()}
        of_peer = case.peers["torch"]
        self.optimizer = getattr(torch.optim, of_peer.name)(
            list(self.tensors.values()), lr=1.0, **of_peer.options
        )
        self.patch = of_peer.patch or contextlib.nullcontext

    @property
    def params(self):
        return {name: w.numpy().copy() for name, w in self.tensors.items()}

    def step(self, k):
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.problem.rates[k])
        for name, w in self.tensors.items():
            w.grad = torch.tensor(self.problem.curvature[name]) * w + torch.tensor(
                self.problem.noise[k][name]
            )
        with self.patch():
            self.optimizer.step()
        self.steps += 1


@pytest.fixture
def default_dtype():
    """Set PyTorch's default dtype, which is that of NAdam's product, for a test."""
    before = torch.get_default_dtype()
    yield lambda dtype: torch.set_default_dtype(getattr(torch, dtype))
    torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("title", TITLES)
def test_each_state_makes_a_round_trip(
    title, dtype, case, our_optimizer, round_trip, default_dtype
):
    default_dtype(dtype)
    of = case(title)

    def to_ours(peer):
        optimizer = our_optimizer(of, "torch", peer.problem)
        step = peer.steps if of.optimizer in UNCOUNTED else None
        state_dict = peer.optimizer.state_dict()
        return optimizer, tl.interop.state_from_torch(
            state_dict, optimizer, peer.params, list(peer.tensors), step
        )

    def to_theirs(state, peer):
        state_dict = peer.optimizer.state_dict()
        names = list(peer.tensors)
        peer.optimizer.load_state_dict(tl.interop.state_to_torch(state, state_dict, names))

    round_trip(
        lambda start, problem: Peer(of, start, problem), to_ours, to_theirs, dtype, of.problem
    )


@pytest.fixture
def begun():
    """Return a PyTorch Adam after one step, and its parameters as tensors."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.named_parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    params = {name: tf.constant(w.detach().numpy()) for name, w in model.named_parameters()}
    return optimizer, params


def test_the_names_of_the_state_dict_are_the_default(begun):
    optimizer, params = begun
    state = tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(), params)
    assert int(state.step) == 1
    np.testing.assert_allclose(state.m["weight"], np.full((2, 3), 0.1), rtol=1e-6)


def test_names_are_in_the_order_of_the_optimizer(begun):
    optimizer, params = begun
    swapped = dict(reversed(params.items()))
    state = tl.interop.state_from_torch(
        optimizer.state_dict(), tl.adam(), swapped, ["weight", "bias"]
    )
    assert state.m["weight"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"exp_avg of bias has shape \[2\] in trainlib, \[2, 3\]"):
        tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(), params, ["bias", "weight"])


def test_a_state_dict_of_numpy_arrays_is_accepted(begun):
    optimizer, params = begun
    state_dict = optimizer.state_dict()
    plain = {
        "state": {
            i: {slot: np.asarray(x) for slot, x in entry.items()}
            for i, entry in state_dict["state"].items()
        },
        "param_groups": state_dict["param_groups"],
    }
    ours = tl.interop.state_from_torch(plain, tl.adam(), params)
    theirs = tl.interop.state_from_torch(state_dict, tl.adam(), params)
    tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)


def test_names_that_differ_are_in_the_message(begun):
    optimizer, params = begun
    params["weights"] = params.pop("weight")
    with pytest.raises(ValueError) as error:
        tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(), params)
    assert str(error.value).splitlines() == [
        "the parameters of trainlib and PyTorch differ:",
        "  only in trainlib: weights (nearest in PyTorch: weight)",
        "  only in PyTorch: weight (nearest in trainlib: weights)",
    ]
    with pytest.raises(ValueError, match="only in trainlib: weights"):
        tl.interop.state_to_torch(tl.adam().init(params), optimizer.state_dict())


def test_slots_that_differ_are_in_the_message(begun):
    optimizer, params = begun
    with pytest.raises(ValueError, match="slots .*\n  only in trainlib: max_exp_avg_sq"):
        tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(amsgrad=True), params)
    with pytest.raises(ValueError, match="(?s)slots .*only in PyTorch: exp_avg_sq"):
        tl.interop.state_from_torch(optimizer.state_dict(), tl.sgd(), params)


def test_a_wrong_number_of_names_raises_an_error(begun):
    optimizer, params = begun
    with pytest.raises(ValueError, match="names must be 2 distinct names"):
        tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(), params, ["weight"])


def test_a_state_without_a_step_raises_an_error():
    w = torch.nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    optimizer = torch.optim.SGD([w], momentum=0.5)
    optimizer.step()
    tx, params = tl.sgd(0.1, 0.5, convention="torch"), {"w": tf.ones(2)}
    with pytest.raises(ValueError, match="step="):
        tl.interop.state_from_torch(optimizer.state_dict(), tx, params, ["w"])


def test_parameters_at_different_steps_raise_an_error(begun):
    optimizer, params = begun
    optimizer.state_dict()["state"][0]["step"] += 1
    with pytest.raises(ValueError, match=r"different steps: \[1, 2\]"):
        tl.interop.state_from_torch(optimizer.state_dict(), tl.adam(), params)


def test_a_state_without_a_counterpart_raises_an_error(begun):
    optimizer, params = begun
    averaged = tl.chain(tl.adam(), tl.ema())
    with pytest.raises(ValueError, match="EmaState.average has no counterpart in PyTorch"):
        tl.interop.state_from_torch(optimizer.state_dict(), averaged, params)


def test_a_chain_and_injected_hyperparameters_are_converted(begun):
    optimizer, params = begun
    tx = tl.chain(tl.clip_by_global_norm(1.0), tl.inject_hyperparams(tl.adam)(0.5))
    state = tl.interop.state_from_torch(optimizer.state_dict(), tx, params)
    assert int(state[1].step) == int(state[1].inner.step) == 1
    assert float(state[1].hyperparams["learning_rate"]) == 0.5
    np.testing.assert_allclose(state[1].inner.m["bias"], np.full(2, 0.1), rtol=1e-6)


def test_a_velocity_before_the_first_update_is_omitted():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.5, dampening=0.5)
    state = tl.sgd(1.0, 0.5, dampening=0.5, convention="torch").init({"w": tf.ones(2)})
    optimizer.load_state_dict(tl.interop.state_to_torch(state, optimizer.state_dict(), ["w"]))
    w.grad = torch.ones(2)
    optimizer.step()
    np.testing.assert_array_equal(w.detach().numpy(), np.zeros(2))
