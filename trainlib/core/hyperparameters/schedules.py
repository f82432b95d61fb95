"""Declarations of the learning-rate schedules' hyperparameters."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
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

_COUNT = Range(at_least=1)

SCHEDULES: Table = {
    "initial_learning_rate": number("initial learning rate", NON_NEGATIVE),
    "linear_warmup.initial_learning_rate": number("learning rate after the warm-up", NON_NEGATIVE),
    "maximal_learning_rate": number("largest learning rate", NON_NEGATIVE),
    "end_learning_rate": number("final learning rate", NON_NEGATIVE),
    "convention": Declaration("str", "library or paper whose form and defaults are used"),
    "decay_steps": integer("length of the decay", POSITIVE, "steps"),
    "decay_rate": number("factor of the learning rate each decay_steps", POSITIVE),
    "hold_then_decay.decay_rate": number("factor of the learning rate each step", POSITIVE),
    "inverse_time_decay.decay_rate": number(
        "growth of the denominator each decay_steps", NON_NEGATIVE
    ),
    "staircase": switch("decay in discrete intervals"),
    "power": number("power of the decay", POSITIVE),
    "cycle": switch("start again after decay_steps"),
    "drop": number("factor of the learning rate at each drop", POSITIVE),
    "step_size": integer("interval between drops", POSITIVE, "steps"),
    "boundaries": Declaration("ints", "steps at which the learning rate changes", NON_NEGATIVE),
    "join_schedules.boundaries": Declaration(
        "ints", "steps at which the next schedule starts", NON_NEGATIVE
    ),
    "values": Declaration("floats", "learning rates, one more than boundaries", NON_NEGATIVE),
    "boundary": choice("which value a boundary step has", "old", "new"),
    "hold_steps": integer("steps before the decay starts", NON_NEGATIVE),
    "warmup_steps": integer("length of the warm-up", NON_NEGATIVE, "steps"),
    "warmup_target": number("learning rate after the warm-up", NON_NEGATIVE, optional=True),
    "warmup_start": number("learning rate at step 0", NON_NEGATIVE),
    "alpha": number("final learning rate as a fraction of the largest", NON_NEGATIVE),
    "exponent": number("power of the cosine", POSITIVE),
    "after_end": choice("whether the rate stays or rises after the decay", "hold", "rise"),
    "first_decay_steps": integer("length of the first cosine", POSITIVE, "steps"),
    "t_mul": number("factor of each cosine's length, 1 or at least 1.001", Range(at_least=1)),
    "m_mul": number("factor of each cosine's height", NON_NEGATIVE),
    "restart_index": choice("how the current cosine is found", "exact", "log"),
    "total_steps": integer("length of the whole schedule", POSITIVE, "steps"),
    "pct_start": number("fraction of the steps in which the rate rises", FRACTION),
    "pct_final": number(
        "fraction of the steps at which the second phase ends", FRACTION, optional=True
    ),
    "div_factor": number("ratio of the largest rate to the first", POSITIVE),
    "final_div_factor": number("ratio of the first rate to the last", POSITIVE),
    "anneal_strategy": choice("shape of the annealing", "cos", "linear"),
    "three_phase": switch("fall to the first rate before falling to the last"),
    "phase_end": choice("step that ends a phase", "last_step", "next_step"),
    "step_size_up": integer("length of the rise", POSITIVE, "steps"),
    "step_size_down": integer("length of the fall", POSITIVE, "steps", optional=True),
    "mode": choice("height of the cycles", "triangular", "triangular2", "exp_range"),
    "gamma": number("factor of the height each step of exp_range", Range(above=0, at_most=1)),
    "cooldown_steps": integer("length of the cooldown", NON_NEGATIVE, "steps", optional=True),
    "cooldown_shape": choice("shape of the cooldown", "linear", "sqrt"),
    "schedule": Declaration("structure", "the schedule, a function of the epoch"),
    "schedules": Declaration("structure", "the schedules in their order"),
    "steps_per_epoch": integer("length of an epoch", POSITIVE, "steps"),
}
