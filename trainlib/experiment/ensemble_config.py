"""`EnsembleConfig`: how the members of an ensemble differ, and how they are averaged."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.tools.weighted_average import AVERAGES

KINDS = ("seed", "fold", "snapshot")
WEIGHTS = ("equal", "simplex", "greedy")


@dataclass(frozen=True, kw_only=True, repr=False)
class EnsembleConfig:
    """Configuration of an ensemble, whose models are trained and averaged.

    Args:
        members: number of models, at least 1. Default: 1, no ensemble.
        by: difference between the members. "seed", the default: the seeds are `seed`, `seed + 1`,
            ...; "fold": in addition each member holds out another fold of the training examples,
            which is its validation data; "snapshot": the members are states of one run at the ends
            of the cycles of the schedule `cosine_decay_restarts`.
        configs: paths of flag files of `train`; the flags of the first file replace those of the
            experiment in the first member, and so on. Default: none.
        average: "probabilities", the default, or "logits"; ignored for models that predict numbers.
        weights: "equal", the default; "simplex", fitted on the validation data; or "greedy",
            selected on the validation data, with replacement.

    Raises:
        ValueError, TypeError: a setting has another type, is out of its range, or needs more
            members.

    Example:
        >>> tl.EnsembleConfig(members=5, weights="simplex")
        EnsembleConfig(members=5, weights='simplex')
    """

    members: int = setting(
        "int",
        1,
        "Number of models that are trained and averaged.",
        flag="ensemble",
        group="Ensemble",
        at_least=1,
    )
    by: str = setting(
        "str",
        "seed",
        "Difference between the models. seed: their seeds, from --seed on; fold: each also holds "
        "out another fold of the training examples; snapshot: states of one run at the ends of the "
        "cycles of cosine_decay_restarts.",
        flag="ensemble_by",
        choices=KINDS,
    )
    configs: tuple[str, ...] = setting(
        "strs",
        (),
        "Flag files, the first one for the first member, and so on; their flags replace those of "
        "the experiment.",
        flag="ensemble_configs",
    )
    average: str = setting(
        "str",
        "probabilities",
        "Average probabilities, or logits; ignored for models that predict numbers.",
        flag="ensemble_average",
        choices=AVERAGES,
    )
    weights: str = setting(
        "str",
        "equal",
        "Weights of the models in the average. equal: the same for all; simplex: fitted on the "
        "validation data; greedy: selected on them, with replacement.",
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
        """Whether there is only one model, and so no ensemble."""
        return self.members == 1
