"""The optimizers: each file holds an equation on one tensor, its state and its factory.

base: what the factories share: `from_update_rule`, the check of arguments. Read it first.
sgd: gradient descent, momentum and Nesterov's momentum; the point where textbooks evaluate it.
adagrad, adadelta, rmsprop, sm3: learning rates from sums or means of squared gradients.
adam: Adam, AMSGrad and AdamW.
adamax, nadam, radam, adabelief, yogi, adan, ademamix: variants of Adam.
ftrl: follow the regularized leader, with L1 and L2 penalties.
signum, lion, rprop: steps by the signs of gradients.
lamb, lars, novograd: steps relative to the norm of each tensor.
adafactor, muon: for matrices.
muon_parts: the parameters that Muon updates; newton_schulz: its iteration.
sophia: a clipped step by an estimate of the Hessian's diagonal.
schedule_free, prodigy: without a schedule, or without a learning rate to tune.
"""

from trainlib.optimizers.adabelief import adabelief
from trainlib.optimizers.adadelta import adadelta
from trainlib.optimizers.adafactor import adafactor
from trainlib.optimizers.adagrad import adagrad
from trainlib.optimizers.adam import adam, adamw
from trainlib.optimizers.adamax import adamax, adamaxw
from trainlib.optimizers.adan import adan
from trainlib.optimizers.ademamix import ademamix, ademamix_alpha, ademamix_beta_3
from trainlib.optimizers.ftrl import ftrl
from trainlib.optimizers.lamb import lamb
from trainlib.optimizers.lars import lars
from trainlib.optimizers.lion import lion
from trainlib.optimizers.muon import muon
from trainlib.optimizers.nadam import nadam, nadamw
from trainlib.optimizers.novograd import novograd
from trainlib.optimizers.prodigy import prodigy
from trainlib.optimizers.radam import radam
from trainlib.optimizers.rmsprop import rmsprop
from trainlib.optimizers.rprop import rprop
from trainlib.optimizers.schedule_free import schedule_free_adamw, schedule_free_eval_params
from trainlib.optimizers.sgd import nesterov_point, sgd
from trainlib.optimizers.signum import sign_sgd, signum
from trainlib.optimizers.sm3 import sm3
from trainlib.optimizers.sophia import sophia
from trainlib.optimizers.yogi import yogi

__all__ = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "ademamix",
    "ademamix_alpha",
    "ademamix_beta_3",
    "ftrl",
    "lamb",
    "lars",
    "lion",
    "muon",
    "nadam",
    "nadamw",
    "nesterov_point",
    "novograd",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "sophia",
    "yogi",
]
