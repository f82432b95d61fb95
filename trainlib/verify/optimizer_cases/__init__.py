"""Cases of the optimizers, a module for each module of `trainlib.optimizers`.

sgd: with and without momentum, and Nesterov's momentum.
adagrad, adadelta, rmsprop, sm3: learning rates from sums or means of squared gradients.
adam: `adam` and `adamw`; adamax: `adamax` and `adamaxw`; nadam: `nadam` and `nadamw`.
radam, adabelief, yogi, adan, ademamix: variants of Adam.
ftrl: follow the regularized leader.
signum: `sign_sgd` and `signum`; lion, rprop: steps by the signs of gradients.
lamb, lars, novograd: steps relative to the norm of each tensor.
adafactor, muon: optimizers for matrices.
schedule_free, prodigy: optimizers without a schedule, or without a learning rate to tune.
"""

from trainlib.verify.optimizer_cases import (
    adabelief,
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adan,
    ademamix,
    ftrl,
    lamb,
    lars,
    lion,
    muon,
    nadam,
    novograd,
    prodigy,
    radam,
    rmsprop,
    rprop,
    schedule_free,
    sgd,
    signum,
    sm3,
    yogi,
)

CASES = [
    *adabelief.CASES,
    *adadelta.CASES,
    *adafactor.CASES,
    *adagrad.CASES,
    *adam.CASES,
    *adamax.CASES,
    *adan.CASES,
    *ademamix.CASES,
    *ftrl.CASES,
    *lamb.CASES,
    *lars.CASES,
    *lion.CASES,
    *muon.CASES,
    *nadam.CASES,
    *novograd.CASES,
    *prodigy.CASES,
    *radam.CASES,
    *rmsprop.CASES,
    *rprop.CASES,
    *schedule_free.CASES,
    *sgd.CASES,
    *signum.CASES,
    *sm3.CASES,
    *yogi.CASES,
]
