"""`ResultsReader`: the metrics, learning rates and loss scale that a run reports."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf

from trainlib.core.finite import nonfinite_leaf
from trainlib.core.types import Schedule, Tensor
from trainlib.metrics import ExampleMetric, Metric, OutputMetric, as_metric
from trainlib.metrics import results as metric_results
from trainlib.step.finite_guard import A_PARAMETER, THE_LOSS, nonfinite_path
from trainlib.step.outputs import empty_loss_states
from trainlib.step.state import NORMS, MetricStates
from trainlib.training.callback import Results
from trainlib.training.programs import Programs
from trainlib.training.variables import read_values
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.inject import held_hyperparams
from trainlib.transforms.nonfinite import ApplyIfFiniteState
from trainlib.transforms.sam import SamState
from trainlib.transforms.states import find_states


class ResultsReader:
    """Reads the results of a run from the state on the device.

    Args:
        programs: the compiled functions and the state in variables.
        schedules: schedules to report, by name.
        report_skipped: whether to report the number of skipped steps. With a loss scale, it and the
            scale are reported in any case.
    """

    def __init__(
        self,
        programs: Programs,
        schedules: Mapping[str, Schedule] | None = None,
        report_skipped: bool = False,
    ) -> None:
        self._programs, self._schedules = programs, dict(schedules or {})
        self._report_scale = programs.config.loss_scale is not None
        self._report_skipped = report_skipped or self._report_scale

    def results(self, metric_states: MetricStates) -> Results:
        """Return the values of metric states by name: numbers and nested lists of them."""
        total = self._programs.devices.total(metric_states)
        values = metric_results(self._programs.config.metrics, total)
        return {name: value.numpy().tolist() for name, value in values.items()}

    def training_results(self, metric_states: MetricStates) -> Results:
        """Return the results of an epoch so far, and the learning rates."""
        return self.epoch_results(metric_states) | self.learning_rates()

    def epoch_results(self, metric_states: MetricStates) -> Results:
        """Return the results of an epoch: NaN if all of its steps were skipped."""
        values = self.results(metric_states)
        if self._programs.config.skips_nonfinite:
            loss = self._programs.devices.total(metric_states)["loss"]
            if loss.count == 0:
                return {name: tf.nest.map_structure(_no_value, x) for name, x in values.items()}
        return values

    def names(self, has_validation: bool) -> list[str]:
        """Return the names of the results that each epoch of a run has."""
        config = self._programs.config
        evaluated = list(empty_loss_states(config))
        for name, metric in config.metrics.items():
            evaluated += _names_of(name, metric)
        norms = NORMS if config.norms else ()
        validation = [f"val_{name}" for name in evaluated] if has_validation else []
        names = ["epoch", "step", *evaluated, *norms, *validation, *self.learning_rates()]
        return [*names, "seconds"]

    def learning_rates(self) -> Results:
        """Return the learning rate, the reported schedules and the loss scale."""
        held = held_hyperparams(self._programs.variables.opt_state).get("learning_rate", [])
        rates: Results = {"learning_rate": held[0]} if len(held) == 1 else {}
        if self._schedules:
            last = tf.maximum(self._updates() - 1, 0)
            rates |= {name: _shortest(f(last)) for name, f in self._schedules.items()}
        return rates | self._loss_scale()

    def _updates(self) -> Tensor:
        """Return the number of updates made: some wrappers of optimizers make none for a batch."""
        state = self._programs.variables.opt_state
        made = [x.step // 2 for x in find_states(state, SamState)]
        for kind in (AccumulateState, ApplyIfFiniteState):
            made += [x.step for x in find_states(state, kind)]
        # Of wrappers in each other, the inner one counts the updates: it is called least often.
        counted = made or [self._programs.variables.step]
        return tf.reduce_min([tf.convert_to_tensor(step) for step in counted])

    def batches_seen(self) -> int:
        """Return the number of batches trained on, those of skipped steps included."""
        variables = self._programs.variables
        guarded = self._programs.config.skips_nonfinite
        skipped = variables.finite_guard.skipped.numpy() if guarded else 0
        return int(variables.step.numpy() + skipped)

    def nonfinite_tensor(self) -> str | None:
        """Return the name of the tensor that was not finite at the step that ended a loop, or None.

        It is a parameter if an earlier update with finite gradients made it infinite or NaN.
        """
        guard = read_values(self._programs.variables.finite_guard)
        if not (self._programs.halts and guard.exhausted.numpy()):
            return None
        if (path := self.nonfinite_parameter()) is not None:
            return f"{A_PARAMETER} {path}"
        path = nonfinite_path(guard, self._programs.variables.params)
        return path if path == THE_LOSS else f"the gradient of {path}"

    def nonfinite_parameter(self) -> str | None:
        """Return the path of the first parameter that is not finite; None if all are."""
        return nonfinite_leaf(read_values(self._programs.variables.params))

    def _loss_scale(self) -> Results:
        """Return the loss scale, the number of skipped steps and the first overflow."""
        found: Results = {}
        if self._report_scale:
            found["loss_scale"] = float(self._programs.variables.loss_scale.scale.numpy())
        if not self._report_skipped:
            return found
        guard = read_values(self._programs.variables.finite_guard)
        found |= {"skipped_steps": int(guard.skipped.numpy())}
        path = nonfinite_path(guard, self._programs.variables.params)
        return found if path is None else found | {"overflowed": path}


def _names_of(name: str, metric: Metric | ExampleMetric | OutputMetric) -> list[str]:
    """Return the names of the results of a metric: several where it computes named values."""
    try:
        return list(metric_results({name: metric}, {name: as_metric(metric).empty(1)}))
    except Exception:  # a custom metric may need the true number of outputs, not known before data
        return [name]


def _no_value(x: float) -> float:
    """Return NaN."""
    return math.nan


def _shortest(x: Tensor) -> float:
    """Return the shortest decimal of a number in its dtype: 0.001 for float32 0.00100000005."""
    return float(str(x.numpy()))
