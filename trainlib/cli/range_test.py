"""The range test of what the flags name: for `lr_find`, and for `train --learning_rate=auto`."""

from __future__ import annotations

from trainlib.cli import build
from trainlib.cli.flag_types import Values
from trainlib.cli.optimization import optimizer_of
from trainlib.core.checks import check_integer
from trainlib.core.tree import kernels
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest
from trainlib.tools.range_test import DEFAULT, lr_finder


def find_rate(
    values: Values,
    task: build.Task,
    built: build.Models,
    on_step: OnStep | None = None,
    ramp: RangeTest = DEFAULT,
) -> LRFinderResult:
    """The range test of what the flags of `train` name; the model stays as it is.

    A batch here holds the examples of a whole update, whatever its gradients are accumulated from.

    Args:
        values: of the flags of `train`.
        task: the data, of which the training part is used, and the loss.
        built: the model.
        on_step: is told of each step, as by `lr_finder`.
        ramp: the options of the test.
    """
    for name in ("batch_size", "gradient_accumulation_steps"):
        check_integer(name, values[name].value, at_least=1)
    return lr_finder(
        built.trained,
        build.build_loss(values, task.loss, built.from_logits),
        lambda rate: optimizer_of(values, rate),
        build.class_weighted(values, task),
        batch_size=values.batch_size * values.gradient_accumulation_steps,
        regularizer=build.build_regularizer(values),
        regularizer_mask=values.regularized_params or kernels,
        seed=values.seed,
        precision=values.precision,
        execution=values.execution,
        on_step=on_step,
        range_test=ramp,
    )
