"""`init_state` and `StepConfig`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helpers.linear import (
    KERNEL,
    linear,
    linear_batch,
    linear_params,
    penalized_state,
)

import trainlib as tl


def test_the_initial_state_holds_the_arguments_at_step_0():
    state = penalized_state(tl.sgd(momentum=0.5))
    assert (state.step.numpy(), state.seed.numpy()) == (0, 5)
    assert state.step.dtype == state.seed.dtype == tf.int64
    assert state.loss_scale == state.finite_guard == ()
    np.testing.assert_array_equal(state.params["kernel"], KERNEL)
    np.testing.assert_array_equal(state.opt_state.v["kernel"], np.zeros((3, 2)))


def test_a_metric_with_the_name_of_a_norm_is_refused():
    metrics = {"update_norm": tl.losses.mean_squared_error}
    with pytest.raises(ValueError, match="metrics must not use the name 'update_norm'"):
        tl.StepConfig(linear, tl.losses.mean_squared_error, metrics=metrics, norms=True)
    tl.StepConfig(linear, tl.losses.mean_squared_error, metrics=metrics, norms=False)


@pytest.mark.parametrize("name", ["loss", "one_loss"])
def test_a_metric_with_the_name_of_a_loss_is_refused(name):
    loss = tl.losses.LossByOutput(dict.fromkeys(["one", "two"], tl.losses.mean_squared_error))
    metrics = {name: tl.losses.mean_absolute_error}
    with pytest.raises(ValueError, match=f"metrics must not use the name '{name}'"):
        tl.StepConfig(linear, loss, metrics=metrics)


def test_an_average_is_one_of_ema_and_swa():
    with pytest.raises(ValueError, match="^average must be tl.ema"):
        tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), average=tl.adam())


def test_a_step_configuration_cannot_be_changed():
    config = tl.StepConfig(linear, tl.losses.mean_squared_error)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.norms = True


@pytest.mark.parametrize("value", [1024.0, "dynamic", tl.dynamic_loss_scale])
def test_anything_but_a_loss_scale_is_refused(value):
    with pytest.raises(TypeError, match="^loss_scale must be None or a LossScale such as"):
        tl.init_state(linear_params(), (), tl.sgd(), loss_scale=value)
    with pytest.raises(TypeError, match="^loss_scale must be None or a LossScale such as"):
        tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), loss_scale=value)


@pytest.mark.parametrize("of_state", [{}, {"finite_guard": True}])
@pytest.mark.parametrize("of_step", [{"loss_scale": tl.dynamic_loss_scale()}])
def test_a_state_without_the_loss_scale_of_the_step_is_refused(of_step, of_state):
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), **of_step)
    state = tl.init_state(linear_params(), (), tl.sgd(), **of_state)
    with pytest.raises(ValueError, match="^init_state and StepConfig must be given the same"):
        tl.train_step(config)(state, linear_batch())


@pytest.mark.parametrize(
    "of_state", [{"loss_scale": tl.dynamic_loss_scale()}, {"finite_guard": True}]
)
def test_a_state_with_more_than_the_step_has_is_refused(of_state):
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd())
    state = tl.init_state(linear_params(), (), tl.sgd(), **of_state)
    with pytest.raises(ValueError, match="^init_state and StepConfig must be given the same"):
        tl.train_step(config)(state, linear_batch())


def test_training_without_an_optimizer_is_refused():
    config = tl.StepConfig(linear, tl.losses.mean_squared_error)
    with pytest.raises(ValueError, match="^optimizer is None: give StepConfig an optimizer"):
        tl.train_step(config)
