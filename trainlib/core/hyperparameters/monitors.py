"""Declarations of the hyperparameters of monitors: plateau detection and early stopping."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    DECAY,
    NON_NEGATIVE,
    Declaration,
    Range,
    Table,
    choice,
    integer,
    number,
    switch,
)

MONITORS: Table = {
    "monitor": Declaration("str", "name of the result that is monitored"),
    "mode": choice("whether lower or higher results are better", "auto", "min", "max"),
    "convention": Declaration("str", "library whose form and defaults are used"),
    "factor": number("factor of the learning rate", Range(above=0, below=1)),
    "patience": integer("epochs without improvement before the rate is reduced", NON_NEGATIVE),
    "early_stop.patience": integer(
        "epochs without improvement before training stops", NON_NEGATIVE
    ),
    "patience_rule": choice(
        "comparison of the epochs without improvement with patience", "ge", "gt"
    ),
    "cooldown": integer(
        "epochs after a reduction that do not count towards patience", NON_NEGATIVE
    ),
    "cooldown_rule": choice("length of the cooldown", "short", "full"),
    "min_delta": number("smallest improvement that counts", NON_NEGATIVE),
    "rel_delta": number("smallest improvement as a fraction of the best result", DECAY),
    "delta_at": choice("number to which min_delta is added", "metric", "best"),
    "min_lr": number("smallest learning rate", NON_NEGATIVE),
    "eps": number("smallest change of the learning rate that is made", NON_NEGATIVE),
    "baseline": number("result that an improvement must exceed", optional=True),
    "start_from_epoch": integer("epochs before monitoring starts", NON_NEGATIVE),
    "first": choice("initial best result", "number", "any", "worst"),
    "restore_best_weights": switch("restore the parameters of the best epoch"),
    "compare_dtype": choice("dtype in which results are compared", "float32", "float64"),
    "rate_dtype": choice("dtype of the learning rate", "float32", "float64"),
}
