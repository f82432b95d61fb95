"""`PretrainConfig`: the configuration of pretraining without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainlib.data import DATASETS
from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.models import RECONSTRUCTING
from trainlib.models.encoders import NOISE

NONE, AUTOENCODER, MASKED = "none", "autoencoder", "masked"


@dataclass(frozen=True, kw_only=True, repr=False)
class PretrainConfig:
    """Configuration of pretraining: the hidden layers are first trained without labels.

    Its settings are those of `tl.pretrain`, with a data set.

    Args:
        method: "none", the default; "autoencoder", the hidden layers and a decoder reconstruct the
            inputs; or "masked", the hidden layers predict masked features from the other ones.
        data: data set for pretraining, whose labels are ignored: a name, the path of a file, or
            `module:function`, as `ExperimentConfig.dataset`. Default: None, all training examples
            of the experiment's data set, whatever its `train_examples`.
        layerwise: whether the dense layers are trained one after another, for "autoencoder".
            Default: False.
        noise: noise in the inputs, for "autoencoder": the fraction of inputs that is dropped, in
            [0, 1), or the standard deviation of Gaussian noise. Default: 0.
        noise_kind: "dropout", the default, or "gaussian_noise".
        mask: probability that a feature is masked, in (0, 1), for "masked". Default: 0.3.
        epochs: epochs of pretraining, at least 1; with `layerwise`, of each layer. Default: 10.
        batch_size: examples in a batch, at least 1. Default: 64.
        learning_rate: learning rate of Adam, above 0. Default: 0.001.

    Raises:
        ValueError, TypeError: a setting has another type, is out of its range, or belongs to
            another method.

    Example:
        >>> tl.PretrainConfig(method="autoencoder", layerwise=True, epochs=5)
        PretrainConfig(method='autoencoder', layerwise=True, epochs=5)
    """

    method: str = setting(
        "str",
        NONE,
        "Train the hidden layers without labels first. autoencoder: with a decoder they "
        "reconstruct the inputs; masked: they predict masked features from the other ones.",
        flag="pretrain",
        group="Pretraining",
        choices=(NONE, AUTOENCODER, MASKED),
    )
    data: str | None = setting(
        "str",
        None,
        f"Data for pretraining; labels are ignored. One of {', '.join(DATASETS)}, the path of a "
        "file, or module:function; default: all training examples of --dataset, whatever "
        "--train_examples.",
        flag="pretrain_data",
    )
    layerwise: bool = setting(
        "bool",
        False,
        "Pretrain the dense layers one after another; each has its own decoder.",
        flag="pretrain_layerwise",
    )
    noise: float = setting(
        "float",
        0.0,
        "Noise in the inputs of the autoencoder; fraction of the inputs that is set to 0, or "
        "standard deviation of Gaussian noise. The targets are the inputs without noise.",
        flag="pretrain_noise",
        at_least=0,
    )
    noise_kind: str = setting(
        "str",
        NOISE[0],
        "Kind of the noise of --pretrain_noise.",
        flag="pretrain_noise_kind",
        choices=NOISE,
    )
    mask: float = setting(
        "float",
        0.3,
        "Probability that a feature is masked, replaced by its mean.",
        flag="pretrain_mask",
        above=0,
        below=1,
    )
    epochs: int = setting(
        "int",
        10,
        "Epochs of pretraining; with --pretrain_layerwise, of each layer.",
        flag="pretrain_epochs",
        at_least=1,
    )
    batch_size: int = setting(
        "int", 64, "Examples in a batch of pretraining.", flag="pretrain_batch_size", at_least=1
    )
    learning_rate: float = setting(
        "float",
        1e-3,
        "Learning rate of Adam in pretraining.",
        flag="pretrain_learning_rate",
        above=0,
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        default = PretrainConfig.__dataclass_fields__
        changed = [name for name in default if getattr(self, name) != default[name].default]
        for name in changed:
            if name != "method" and self.method == NONE:
                raise ValueError(f"pretrain_{name} needs pretrain, autoencoder or masked")
            if name in ("layerwise", "noise", "noise_kind") and self.method == MASKED:
                raise ValueError(f"pretrain_{name} is for pretrain=autoencoder")
            if name == "mask" and self.method == AUTOENCODER:
                raise ValueError("pretrain_mask is for pretrain=masked")
        if self.noise_kind == NOISE[0] and self.noise >= 1:
            raise ValueError(f"pretrain_noise must be below 1 for dropout, got {self.noise:g}")
        if "noise_kind" in changed and not self.noise:
            raise ValueError("pretrain_noise_kind needs pretrain_noise")


def check_pretrain(config: Any) -> None:
    """Raise `ValueError` if pretraining is configured for an experiment that cannot have it.

    Args:
        config: an `ExperimentConfig`.
    """
    pretrain = config.pretrain
    if pretrain.method == NONE:
        return
    if config.model.name in RECONSTRUCTING:
        raise ValueError(
            f"pretrain is for a model with a head, but {config.model.name} reconstructs its inputs "
            "itself: leave it out, and reuse its encoder by model=RUN, cut_at=code"
        )
    if config.gradient_checkpointing:
        raise ValueError(
            "gradient_checkpointing is not for pretraining: pretrain in a separate run, and train "
            "its folder further, by model=RUN"
        )
    if config.data.stream_pipeline and pretrain.data is None:
        raise ValueError("pretrain of a streamed pipeline needs pretrain_data, an array in memory")
