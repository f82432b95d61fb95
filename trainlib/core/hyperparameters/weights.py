"""Declarations of the hyperparameters of regularizers, constraints, clipping and transforms."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    DECAY,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    Declaration,
    Range,
    Table,
    choice,
    integer,
    number,
    switch,
)

REGULARIZERS: Table = {
    "l1": number("factor of the sum of absolute values", NON_NEGATIVE),
    "l2": number("factor of the sum of squares", NON_NEGATIVE),
    "factor": number("factor of the mean", NON_NEGATIVE),
    "mode": choice("vectors that are made orthogonal", "rows", "columns"),
}

CONSTRAINTS: Table = {
    "max_value": number("largest norm", NON_NEGATIVE),
    "min_value": number("smallest norm", NON_NEGATIVE),
    "rate": number("fraction of the way to the bound at each application", FRACTION),
    "axis": Declaration("axis", "axes of a norm: integers, all, or units (all but the last)"),
    "epsilon": number("number added to the norm; 0 is the exact projection", NON_NEGATIVE),
}

CLIPPING: Table = {
    "clipvalue": number("largest absolute value of a gradient's element", POSITIVE),
    "clipnorm": number("largest norm of each gradient tensor", POSITIVE),
    "global_clipnorm": number("largest norm of all gradients together", POSITIVE),
    "clipping": number("largest ratio of a gradient's norm to its weights' norm", POSITIVE),
    "eps": number("smallest norm of the weights in the ratio", POSITIVE),
}

TRANSFORMS: Table = {
    "factor": number("factor of the updates"),
    "weight_decay": number("weight decay", NON_NEGATIVE),
    "decay": number("decay rate of the average of the parameters", DECAY),
    "debias": switch("correct the bias of the average"),
    "overwrite_frequency": integer(
        "updates after which the average replaces the parameters",
        Range(at_least=1),
        optional=True,
    ),
    "start": integer("first update after which the parameters are averaged", Range(at_least=1)),
    "every": integer("updates between the states that are averaged", Range(at_least=1)),
    "eta": number("variance of the noise at the first update", NON_NEGATIVE),
    "gamma": number("exponent of the decay of the variance", NON_NEGATIVE),
    "seed": integer("seed of the noise", Range(at_least=-(2**63), at_most=2**63 - 1)),
    "unit_axis": integer("axis of the units, whose gradients are centered"),
    "every_k": integer("batches whose gradients make one update", Range(at_least=1)),
    "sync_period": integer("updates between synchronizations", Range(at_least=1)),
    "slow_step_size": number("step size of the slow weights", FRACTION),
    "rho": number("radius of the neighborhood", NON_NEGATIVE),
    "mask": Declaration("structure", "the parameters to which the transform applies"),
    "optimizer": Declaration("structure", "the optimizer that is wrapped"),
    "fast": Declaration("structure", "the optimizer that is wrapped"),
    "optimizers": Declaration("structure", "the optimizers of the groups"),
    "labels": Declaration("structure", "the groups of the parameters"),
    "constraint": Declaration("structure", "the constraint, a function of the weights"),
    "schedule": Declaration("structure", "the schedule, a function of the step"),
}
