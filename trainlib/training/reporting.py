"""What is told of a run in numbers: its results, its rates, the scale of its loss."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainlib.core.types import Schedule, Tensor
from trainlib.metrics import results as metric_results
from trainlib.step.finite_guard import THE_LOSS, FiniteGuardState, nonfinite_path
from trainlib.step.state import MetricStates
from trainlib.training.callback import Results
from trainlib.training.programs import Programs
from trainlib.training.variables import read
from trainlib.transforms.inject import held_hyperparams


class Reports:
    """Reads the numbers off what runs on the device.

    Args:
        programs: what runs there.
        schedules: to be reported, by name.
        scaled: whether the loss's scale is told.
        counted: whether it is told how many steps were skipped.
    """

    def __init__(
        self, programs: Programs, schedules: Mapping[str, Schedule], scaled: bool, counted: bool
    ) -> None:
        self._programs, self._schedules = programs, dict(schedules)
        self._scaled, self._counted = scaled, counted

    def results(self, records: MetricStates) -> Results:
        """The values by name: numbers, and nested lists of them."""
        values = metric_results(self._programs.metrics, self._programs.merged(records))
        return {name: value.numpy().tolist() for name, value in values.items()}

    def so_far(self, records: MetricStates) -> Results:
        """The same, and the rates."""
        return self.results(records) | self.rates()

    def rates(self) -> Results:
        """The learning rate, what else is to be reported, and the scale of the loss."""
        last = tf.maximum(self._programs.variables.step - 1, 0)
        rates = held_hyperparams(self._programs.variables.opt_state).get("learning_rate", [])
        told: Results = {"learning_rate": rates[0]} if len(rates) == 1 else {}
        told |= {name: _shortest(f(last)) for name, f in self._schedules.items()}
        return told | self._scaling()

    def batches_seen(self) -> int:
        """Those trained on, with an update or, where gradients were not finite, without."""
        guard = self._programs.variables.finite_guard
        skipped = guard.skipped.numpy() if isinstance(guard, FiniteGuardState) else 0
        return int(self._programs.variables.step.numpy() + skipped)

    def nonfinite(self) -> str | None:
        """What was not finite at the step that ended a loop of steps; None where none did."""
        guard = read(self._programs.variables.finite_guard)
        if not (self._programs.halts and guard.exhausted.numpy()):
            return None
        path = nonfinite_path(guard, self._programs.variables.params)
        return path if path == THE_LOSS else f"the gradient of {path}"

    def _scaling(self) -> Results:
        """What is to be told of the loss's scale and of steps that were skipped."""
        scale = read(self._programs.variables.loss_scale)
        told: Results = {"loss_scale": float(scale.scale.numpy())} if self._scaled else {}
        if not self._counted:
            return told
        guard = read(self._programs.variables.finite_guard)
        told |= {"skipped_steps": int(guard.skipped.numpy())}
        path = nonfinite_path(guard, self._programs.variables.params)
        return told if path is None else told | {"overflowed": path}


def _shortest(x: Tensor) -> float:
    """A number as it reads in its own dtype: 0.001, where float32 holds 0.0010000000474974513."""
    return float(str(x.numpy()))
