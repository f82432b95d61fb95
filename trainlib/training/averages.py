"""The averaged parameters of a trainer: their variables, and the statistics that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.tree import float64
from trainlib.core.types import State, Tensor, Tree
from trainlib.metrics import Mean
from trainlib.step.averages import MODEL_STATE, PARAMS, average_of, averaged_weights
from trainlib.step.state import Batch, MetricStates, TrainState
from trainlib.training.chunks import Chunk, specs_of
from trainlib.training.devices import TrainStep
from trainlib.training.evaluation import loop_arguments
from trainlib.training.programs import Programs
from trainlib.training.variables import assign_values, read_values
from trainlib.transforms.averages import averages_in
from trainlib.transforms.swa import SwaState


def averaged_variables(variables: Any) -> dict[str, Any]:
    """Return the variables of averages by path, of a model whose parameters are a dict by path.

    Args:
        variables: the `TrainState` as variables.

    Returns:
        The variables of the parameters and of the averaged statistics; {} without an average.
    """
    if variables.average == ():
        return {}
    held = average_of(variables.average)
    return {**held[PARAMS], **held[MODEL_STATE]}


def overwrite_average(variables: Any, params: Tree, model_state: Tree) -> None:
    """Assign parameters and a model state to the average of a training state, if it has one."""
    if variables.average == ():
        return
    held = average_of(variables.average)
    values = {PARAMS: params, MODEL_STATE: {name: model_state[name] for name in held[MODEL_STATE]}}
    tf.nest.map_structure(lambda v, x: v.assign(tf.cast(x, v.dtype)), held, values)


def takes_statistics(average: State) -> bool:
    """Return whether statistics are estimated for an average: that of `swa`."""
    return any(isinstance(x, SwaState) for x in averages_in(average))


def has_own_statistics(average: State) -> bool:
    """Return whether an average already has several states, and so needs separate statistics."""
    return any(isinstance(x, SwaState) and int(x.count.numpy()) > 1 for x in averages_in(average))


def estimate_statistics(
    programs: Programs, momenta: Mapping[str, float], chunks: Iterator[Chunk]
) -> None:
    """Assign to an average the statistics of batch normalization of its parameters.

        mean = (1/N) sum over the batches of n mean_b,   variance = (1/N) sum of n variance_b

    n: examples of a batch, N: of all. The model is called in training mode; other state that it
    changes, such as that of random generators, is as before afterwards.

    Args:
        programs: the programs, with the state.
        momenta: momentum of each moving statistic, by its key in the model state.
        chunks: the training data of an epoch.

    References:
        Izmailov et al. 2018, section 3.1; `torch.optim.swa_utils.update_bn`.
    """
    variables = programs.variables
    before = read_values(variables.model_state)
    sums = empty = _no_statistics(programs, momenta)
    step = _statistics_step(programs, momenta)
    try:
        for chunk in chunks:
            specs = specs_of(chunk.examples)
            program = programs.state_loop("statistics", step(chunk.rows), chunk.rows, specs, empty)
            sums = program(*loop_arguments(chunk, chunk.start, chunk.stop), sums)
    finally:
        assign_values(variables.model_state, before)
    held = average_of(variables.average)[MODEL_STATE]
    for name, mean in programs.devices.total(sums).items():
        held[name].assign(tf.cast(mean.compute(), held[name].dtype))


def _statistics_step(programs: Programs, momenta: Mapping[str, float]) -> Any:
    """Return `rows -> step`, whose results are the statistics of a batch of so many examples.

    They follow from how a layer moves its own: new = momentum old + (1 - momentum) batch.
    """

    def make(rows: int) -> TrainStep:
        def step(state: TrainState, batch: Batch, last: Tensor) -> tuple[TrainState, MetricStates]:
            params, _ = averaged_weights(read_values(programs.variables._replace(opt_state=())))
            apply_fn, old = programs.part_config.apply_fn, state.model_state
            new = apply_fn(params, old, batch[0], training=True).model_state
            size = tf.constant(rows, tf.float64)
            found = {
                name: (float64(new[name]) - m * float64(old[name])) / (1 - m)
                for name, m in momenta.items()
            }
            sums = {name: Mean(size * value, size) for name, value in found.items()}
            if programs.devices.all_reduce is not None:
                # Replicas wait here: none may assign its state while another calls the model.
                sums = programs.devices.all_reduce(sums)
            return state._replace(model_state=new), sums

        return step

    return make


def _no_statistics(programs: Programs, names: Iterable[str]) -> MetricStates:
    """Return the sums of the statistics over no batches, a `Mean` for each of some statistics."""
    shapes = {name: programs.variables.model_state[name].shape for name in names}
    count = tf.zeros([], tf.float64)
    return programs.devices.expand(
        {name: Mean(tf.zeros(shape, tf.float64), count) for name, shape in shapes.items()}
    )
