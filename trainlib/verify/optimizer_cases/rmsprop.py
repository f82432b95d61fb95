"""RMSProp."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

RHO, MU, DECAY = 0.875, 0.75, 0.0625
LARGE = 2.0**-7


def rmsprop(
    form: str, epsilon: float | None = None, scale: float = 1.0, **shared: Any
) -> OptimizerCase:
    """Make a case with options of the same name in all peers; None is the default epsilon."""
    ours = {"epsilon": epsilon} if epsilon is not None else {}
    theirs = {"eps": epsilon} if epsilon is not None else {}
    peers = {
        "keras": Peer("RMSprop", {"rho": RHO} | ours | shared),
        "torch": Peer("RMSprop", {"alpha": RHO} | theirs | shared),
        "optax": Peer("rmsprop", {"decay": RHO} | theirs | shared),
    }
    return OptimizerCase(
        "rmsprop", form, {"rho": RHO} | ours | shared, peers, problem={"scale": scale}
    )


def of_optax(form: str, ours: dict[str, Any], theirs: dict[str, Any]) -> OptimizerCase:
    """Make a case that only Optax implements."""
    ours = {"rho": RHO, "epsilon": LARGE} | ours
    theirs = {"decay": RHO, "eps": LARGE} | theirs
    return OptimizerCase("rmsprop", form, ours, {"optax": Peer("rmsprop", theirs)})


NESTEROV = {"momentum": MU, "nesterov": True}
CORRECTED = {"bias_correction": True}
SCALED = {"initial_scale": 1.0}

CASES = [
    rmsprop(""),
    rmsprop("large epsilon", LARGE),
    rmsprop("small gradients", 2.0**-40, scale=2.0**-20),
    rmsprop("momentum", momentum=MU),
    rmsprop("centered", LARGE, centered=True),
    rmsprop("centered, momentum", LARGE, centered=True, momentum=MU),
    OptimizerCase(
        "rmsprop",
        "centered, small gradients",
        {"rho": RHO, "epsilon": 2.0**-40, "centered": True},
        {
            "keras": Peer("RMSprop", {"rho": RHO, "epsilon": 2.0**-40, "centered": True}),
            "torch": Peer("RMSprop", {"alpha": RHO, "eps": 2.0**-40, "centered": True}),
            "optax": Peer("rmsprop", {"decay": RHO, "eps": 2.0**-40, "centered": True}),
        },
        problem={"scale": 2.0**-20},
    ),
    OptimizerCase(
        "rmsprop",
        "weight decay",
        {"rho": RHO, "momentum": MU, "weight_decay": DECAY},
        {
            "keras": Peer("RMSprop", {"rho": RHO, "momentum": MU, "weight_decay": DECAY}),
            "torch": Peer("RMSprop", {"alpha": RHO, "momentum": MU, "weight_decay": DECAY}),
        },
    ),
    OptimizerCase(
        "rmsprop",
        "textbook",
        {},
        {"keras": Peer("RMSprop", {"rho": 0.9, "epsilon": 1e-10}, convention="textbook")},
    ),
    of_optax("epsilon outside", {"epsilon_place": "outside"}, {"eps_in_sqrt": False}),
    of_optax(
        "epsilon outside, centered",
        {"epsilon_place": "outside", "centered": True},
        {"eps_in_sqrt": False, "centered": True},
    ),
    of_optax("nesterov", NESTEROV, NESTEROV),
    of_optax("initial scale", SCALED, SCALED),
    of_optax("bias correction", CORRECTED, CORRECTED),
    of_optax(
        "bias correction, centered",
        CORRECTED | {"centered": True},
        CORRECTED | {"centered": True},
    ),
]
