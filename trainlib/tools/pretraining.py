"""`pretrain`: the hidden layers of a model are trained without labels, as an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.models.encoders import Encoder, decoder_widths, encoder_of, reconstruction_model
from trainlib.optimizers import adam
from trainlib.tools.feature_masking import feature_masking, masked_error, masked_once, with_mask
from trainlib.tools.pretrain_options import METHODS, Log, PretrainOptions, PretrainSettings
from trainlib.training.callback import Callback, Results, TrainingStatus
from trainlib.training.display import format_results
from trainlib.training.evaluator import Evaluator
from trainlib.training.execution import STEPS_TO_COMPILE, default_execution
from trainlib.training.fitting import split_arrays
from trainlib.training.keyword_options import settings_from, show_options
from trainlib.training.trainer import Trainer

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PretrainingStage(NamedTuple):
    """A stage of pretraining.

    Attributes:
        name: what was trained: "autoencoder", "masked", or "layer 1", "layer 2", ...
        examples: number of examples, those kept for validation included.
        history: results of each epoch: "loss", the mean squared error of the scaled inputs, and
            "val_loss".

    Example:
        >>> tl.PretrainingStage("layer 1", 100, [{"loss": 0.5}]).history[-1]
        {'loss': 0.5}
    """

    name: str
    examples: int
    history: list[Results]


@show_options(PretrainSettings)
def pretrain(model: Any, x: Any, **options: Unpack[PretrainOptions]) -> list[PretrainingStage]:
    """Train the hidden layers of a model without labels, in place.

    The layers before the head, which is the last layer with parameters, become the encoder of an
    autoencoder, whose decoder has the widths of its dense layers in reverse. It is trained by Adam
    to reconstruct the inputs as the model scales them; the decoder is then dropped. Frozen layers
    stay as they are.

    Args:
        model: a Keras model of one input and one output.
        x: inputs without labels, as the model takes them, an array [N, ...].
        method: "autoencoder" (default), or "masked": some features of each example are replaced by
            their means, and the model predicts these from the others.
        layerwise: whether the dense layers are trained one after another: each, with a decoder of
            its own, reconstructs the outputs of those before it. Default: False, all at once.
        noise: for "autoencoder": disturbs the inputs, but not the targets. Default: 0.
        noise_kind: "dropout" (default), `noise` is the fraction of the inputs that is set to 0; or
            "gaussian_noise", `noise` is its standard deviation.
        mask: for "masked": probability that a feature is masked, in (0, 1). Default: 0.3.
        groups: for "masked": number of the group of each feature, from 0; the features of a group,
            such as the indicators of a category, are masked together. Default: None, each is a
            group.
        epochs: epochs, of each layer if `layerwise`, at least 1. Default: 10.
        batch_size: examples in a batch, at least 1. Default: 64.
        learning_rate: learning rate of Adam, above 0. Default: 0.001.
        validation_split: fraction of the examples, the last ones, on which "val_loss" is computed,
            in [0, 1). Default: 0.1.
        seed: seed of the decoder, the noise and the order. Default: 0.
        execution: as for `tl.Trainer`. Default: "auto", by the layers and the number of steps;
            nothing is measured.
        log: function called with a line for each epoch. Default: none are logged.

    Returns:
        The stages, in order.

    Raises:
        ValueError, TypeError: an option is out of range; or the model has several inputs or
            outputs, or no hidden layer; or it is no chain of dense layers and `layerwise` is True.

    Example:
        >>> model = tl.models.mlp((8,), 3, hidden=(6, 4))
        >>> x = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
        >>> stages = tl.pretrain(model, x, layerwise=True, epochs=2)
        >>> [(stage.name, len(stage.history)) for stage in stages]
        [('layer 1', 2), ('layer 2', 2)]

    References:
        Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks".
        Vincent et al. 2010, "Stacked Denoising Autoencoders".
        Yoon et al. 2020, "VIME: Extending the Success of Self- and Semi-supervised Learning to
        Tabular Domain".
    """
    settings = settings_from(PretrainSettings, "pretrain", options)
    encoder = check_encoder(model, settings.layerwise)
    scaled = np.asarray(Evaluator(encoder.scaling, execution="graph").predict(x), "float32")
    if not settings.layerwise:
        widths = decoder_widths(encoder.hidden)
        return [_stage(settings.method, encoder.hidden, widths, scaled, settings)]
    stages = []
    for number, part in enumerate(encoder.parts, start=1):
        stages.append(_stage(f"layer {number}", part, (), scaled, settings))
        scaled = np.asarray(Evaluator(part, execution="graph").predict(scaled))
    return stages


def check_encoder(model: Any, layerwise: bool) -> Encoder:
    """Return the hidden layers of a model as an encoder.

    Raises:
        ValueError: they cannot be one, or are no chain of dense layers and `layerwise` is True.
    """
    encoder = encoder_of(model)
    if layerwise and not encoder.parts:
        raise ValueError(
            f"layerwise is for a chain of dense layers, which model {model.name!r} is not: leave "
            "it out"
        )
    return encoder


def _stage(
    name: str, encoder: Any, widths: Sequence[int], x: np.ndarray, settings: PretrainSettings
) -> PretrainingStage:
    """Train an encoder with a new decoder, and return the stage."""
    noise = settings.noise if settings.method == METHODS[0] else 0.0
    model = reconstruction_model(encoder, widths, settings.seed, noise, settings.noise_kind)
    flat = x.reshape(len(x), -1)
    is_masked = settings.method != METHODS[0]
    trainer = Trainer(
        model,
        masked_error if is_masked else "mean_squared_error",
        adam(settings.learning_rate),
        strategy="one_device",
        execution=_execution(settings, encoder, len(x)),
        seed=settings.seed,
        augment=feature_masking(flat, settings) if is_masked else None,
    )
    train, validation = _split(x, with_mask(flat) if is_masked else flat, settings)
    if is_masked and validation is not None:
        validation = masked_once(validation, feature_masking(flat, settings), settings.seed)
    history = trainer.fit(
        train,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        validation_data=validation,
        callbacks=[_LogEpochs(name, settings.log)],
        verbose=0,
    )
    return PretrainingStage(name, len(x), history)


def _execution(settings: PretrainSettings, encoder: Any, examples: int) -> str:
    """Return how steps are executed; nothing is measured, so that it is the same in each run."""
    if settings.execution != "auto":
        return settings.execution
    if settings.epochs * examples < STEPS_TO_COMPILE["dense"] * settings.batch_size:
        return "graph"
    dense = default_execution("auto", encoder) == "xla"
    return "xla" if dense and not settings.noise else "xla_update"


def _split(
    x: np.ndarray, y: np.ndarray, settings: PretrainSettings
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray] | None]:
    """Return the training and the validation examples; None for none."""
    if not settings.validation_split:
        return (x, y), None
    return split_arrays((x, y), settings.validation_split)


class _LogEpochs(Callback):
    """Logs a line for each epoch of a stage."""

    def __init__(self, name: str, log: Log) -> None:
        self.name, self.log = name, log

    def on_epoch_end(self, status: TrainingStatus) -> None:
        results = {k: x for k, x in status.results.items() if k.endswith("loss")}
        self.log(
            f"pretraining, {self.name}, epoch {status.epoch}/{status.epochs}  "
            f"{format_results(results)}"
        )
