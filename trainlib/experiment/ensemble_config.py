"""The configuration of an ensemble: how its members differ, and how they are averaged."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.tools.weighted_average import AVERAGES

KINDS = ("seed", "fold", "snapshot")
WEIGHTS = ("equal", "simplex", "greedy")


@dataclass(frozen=True, kw_only=True, repr=False)
class EnsembleConfig:
    """Several models that are trained and averaged as one.

    Args:
        members: number of models, at least 1. Default: 1, no ensemble.
        by: how the members differ. "seed", the default: seeds `seed`, `seed + 1`, ...; "fold": also
            each leaves out another part of the training examples, which is its validation data;
            "snapshot": they are the states of one run at the ends of the cycles of its schedule
            `cosine_decay_restarts`.
        configs: paths of flag files of `train`, whose flags replace those of the experiment in one
            member after another. Default: none.
        average: "probabilities", the default, or "logits". Numbers are averaged as they are.
        weights: "equal", the default; "simplex": fitted on the validation data; or "greedy":
            selected on them, with replacement.

    Raises:
        ValueError, TypeError: a setting of another type or out of its range, or one that needs more
            members.

    Example:
        >>> tl.EnsembleConfig(members=5, weights="simplex")
        EnsembleConfig(members=5, weights='simplex')
    """

    members: int = setting(
        "int",
        1,
        "Models that are trained, and averaged as one.",
        flag="ensemble",
        group="Ensemble",
        at_least=1,
    )
    by: str = setting(
        "str",
        "seed",
        "How they differ. seed: seeds from --seed on; fold: each also leaves out another part of "
        "the training examples; snapshot: states of one run at the ends of the cycles of "
        "cosine_decay_restarts.",
        flag="ensemble_by",
        choices=KINDS,
    )
    configs: tuple[str, ...] = setting(
        "strs",
        (),
        "Flag files whose flags replace those of one member after another.",
        flag="ensemble_configs",
    )
    average: str = setting(
        "str",
        "probabilities",
        "What is averaged; numbers are averaged as they are.",
        flag="ensemble_average",
        choices=AVERAGES,
    )
    weights: str = setting(
        "str",
        "equal",
        "Weights of the models: equal; simplex: fitted on the validation data; greedy: selected on "
        "them, with replacement.",
        flag="ensemble_weights",
        choices=WEIGHTS,
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        default = EnsembleConfig.__dataclass_fields__
        for name in ("by", "configs", "average", "weights"):
            if self.members == 1 and getattr(self, name) != default[name].default:
                raise ValueError(f"ensemble_{name} needs an ensemble of at least 2 models")
        if self.configs and self.by == "snapshot":
            raise ValueError("ensemble_configs are for several runs; ensemble_by=snapshot is one")
        if len(self.configs) > self.members:
            raise ValueError(
                f"ensemble_configs names {len(self.configs)} files for {self.members} members: "
                f"give ensemble={len(self.configs)} or more"
            )

    @property
    def is_one(self) -> bool:
        """Whether there is one model only, no ensemble."""
        return self.members == 1
