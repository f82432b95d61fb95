"""The configuration of an experiment: all settings of `train`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field

from trainlib.data import DATASETS
from trainlib.data.datasets import is_path
from trainlib.experiment import flat, serialization
from trainlib.experiment.average_config import AverageConfig
from trainlib.experiment.checkpoint_config import CheckpointConfig
from trainlib.experiment.config_checks import check_combinations, check_nested
from trainlib.experiment.data_config import MAX_SEED, DataConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.fields import (
    ClippingField,
    FunctionField,
    FunctionsField,
    MonitorsField,
    OptionalFunctionField,
    check_settings,
    setting,
    short_repr,
)
from trainlib.experiment.functions import AUTO, FunctionConfig
from trainlib.experiment.pretrain_config import PretrainConfig
from trainlib.experiment.schedule_config import ScheduleField
from trainlib.experiment.tensorboard_config import TensorBoardConfig
from trainlib.experiment.transfer_config import TransferConfig
from trainlib.step.precision import PRECISIONS
from trainlib.training.execution import EXECUTIONS
from trainlib.training.nonfinite import POLICIES
from trainlib.training.paths import absolute
from trainlib.training.strategies import MAX_REPLICAS, STRATEGIES

_BY_PATH = "a regular expression of whole paths; default: parameters of two or more axes"


@dataclass(frozen=True, kw_only=True, repr=False)
class ExperimentConfig:
    """Configuration of an experiment: all settings of `train`.

    It is immutable and checked when it is made; `dataclasses.replace(config, epochs=20)` returns a
    variation. Functions are given by name, or with hyperparameters by `tl.config`.

    Args:
        dataset: "digits", "mnist", "fashion_mnist", "california_housing", the path of an `.npz`
            file, a table or a folder of images, or `module:function`, which returns arrays or a
            `tf.data.Dataset`. Paths become absolute. Default: "digits".
        data: a `DataConfig`: source of the data, their parts and their weights.
        model: a name of `tl.models.MODELS`, the path of a `.keras` file or of the folder of a run,
            or `module:function`. Default: "mlp".
        transfer: a `TransferConfig`: reused and frozen layers of a saved model, and their rates.
        pretrain: a `PretrainConfig`: pretraining without labels. Default: no pretraining.
        from_logits: whether the model ends in logits. Default: None, inferred from its last layer.
        imports: modules to import before models are built or loaded. A run records those that it
            needs. Default: none.
        code_path: folders that are searched for custom modules, separated as in $PYTHONPATH. A run
            records the folders of its modules. Default: None, the working directory.
        safe_mode: whether to refuse `.keras` files that contain code. Default: True.
        parameters: path of a file with the initial parameters of the model, see
            `tl.interop.load_parameters`. Default: None, random parameters, or those in the model's
            file.
        optimizer: the optimizer. Its `learning_rate` may be "auto": found by a range test. Default:
            "adam".
        param_rules: rules that set hyperparameters by path of a parameter, see `tl.param_rules`.
            Default: None.
        gradient_accumulation_steps: number of batches whose gradients are accumulated for an
            update, at least 1. Default: 1.
        lazy_embeddings: whether only the rows of embeddings with a gradient are updated, as by
            `tl.lazy`. Default: False.
        schedule: a learning-rate schedule, a sequence of them, or a `ScheduleConfig`. Default:
            "constant".
        monitors: "reduce_on_plateau", "early_stop" or both. Default: none.
        regularizer: a penalty on parameters. Default: None.
        regularized_params: regular expression for the paths of penalized parameters. Default: None,
            kernels.
        constraint: a constraint on parameters after each update. Default: None.
        constrained_params: regular expression for the paths of constrained parameters. Default:
            None, kernels.
        clipping: a function that clips gradients. Default: None.
        weight_average: an `AverageConfig`: averages of the parameters that are evaluated and saved.
            Default: no average.
        loss: a loss; "auto", the default: cross-entropy for classes, squared error for numbers.
        output_losses: losses of outputs that differ from `loss`, such as ("aux=huber",); they must
            take the same form of targets. Default: none.
        loss_weights: weights of the losses of several outputs, such as ("main=0.9", "aux=0.1").
            Default: none, 1 for each.
        metrics: metrics; "auto", the default: accuracy, or squared and absolute error.
        epochs: passes over the training examples, at least 1. Default: 10.
        batch_size: examples in a batch, at least 1. Default: 32.
        seed: seed of everything random, from 0 to 2**32 - 1. Default: 0.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16". Default: None, the
            precision of the model.
        execution: how steps are executed: "graph", "xla", "xla_update" or "auto", see `tl.Trainer`.
            Default: "auto".
        gradient_checkpointing: whether the backward pass recomputes activations, to save memory.
            Default: False.
        strategy: "one_device", "mirrored", "multi_worker" or "auto", see `tl.Trainer`. Default:
            "auto".
        replicas: number of devices of the strategy "mirrored". Default: None, all accelerators.
        nonfinite: policy for losses and gradients that are not finite: "none", "epoch", "stop",
            "skip" or "roll_back", see `tl.Trainer`. Default: "epoch".
        norms: whether norms of gradients and updates are reported. Default: None, if `tensorboard`
            is given.
        worker_timeout: seconds that workers wait for each other at the start. Default: 300.
        callbacks: names `module:name` of custom callbacks. Default: none.
        validation_ratio: whether the ratio of validation loss and training loss is logged after
            each epoch. Default: False.
        calibrate: whether a temperature is fitted on the validation data after training and saved
            with the model. Default: False.
        report: whether `report.html` is written at the end. Default: True.
        checkpoints: a `CheckpointConfig`: when checkpoints are saved, and which are kept.
        ensemble: an `EnsembleConfig`: models that `tl.run_ensemble` trains and averages.
        tensorboard: a `TensorBoardConfig`. Default: None, nothing is written for TensorBoard.

    Raises:
        ValueError, TypeError: a setting is unknown, has another type or is out of its range, or
            settings contradict each other.

    Example:
        >>> import dataclasses
        >>> config = tl.ExperimentConfig(
        ...     dataset="fashion_mnist",
        ...     model="cnn",
        ...     optimizer=tl.config("nadam", learning_rate=1e-3),
        ...     epochs=5,
        ... )
        >>> config.optimizer.hyperparameters["learning_rate"]
        0.001
        >>> dataclasses.replace(config, optimizer="adam")
        ExperimentConfig(dataset='fashion_mnist', model=config('cnn'), epochs=5)
    """

    dataset: str = setting(
        "str",
        "digits",
        f"Data set: name, path or module:function. Names: {', '.join(DATASETS)}. The path is that "
        "of a table (.csv, .tsv, .parquet), of an .npz file, or of a folder of images with a "
        "subfolder for each class. The function returns (x, y), ((x_train, y_train), (x_test, "
        "y_test)) or a tf.data.Dataset.",
        group="Data",
    )
    data: DataConfig = field(default=DataConfig())
    model: FunctionField = FunctionField(
        "model",
        "mlp",
        "Model: name, path or module:function. Names: {names}. The path is that of a .keras file, "
        "or of the folder of a run, whose parameters are trained further. The function is called "
        "with (input_shape, outputs).",
    )
    transfer: TransferConfig = field(default=TransferConfig())
    pretrain: PretrainConfig = field(default=PretrainConfig())
    from_logits: bool | None = setting(
        "bool",
        None,
        "Whether your model ends in logits, not in probabilities; default: inferred from its last "
        "layer. The saved model of a model with logits ends in probabilities.",
        group="Model",
    )
    imports: tuple[str, ...] = setting(
        "strs",
        (),
        "Modules to import first, comma-separated; for example those with the custom layers of a "
        ".keras file. A run records the modules that it needs.",
    )
    code_path: str | None = setting(
        "str",
        None,
        "Folders searched for your modules; separated as in $PYTHONPATH; default: the working "
        "directory. A run records the folders in which it found them.",
    )
    safe_mode: bool = setting(
        "bool",
        True,
        "Refuse .keras files that contain code, such as Lambda layers; turn this off only for "
        "files that you trust. The modules that a run records are imported in any case, which runs "
        "their code.",
    )
    parameters: str | None = setting(
        "path",
        None,
        "File with the initial parameters of the model; parameters by name in .npz or "
        ".safetensors, as export_model writes them; or the state dict of a PyTorch model of the "
        "same layers, .pt, .pth or .safetensors; default: random.",
    )
    optimizer: FunctionField = FunctionField(
        "optimizer",
        "adam",
        "Optimizer: name or module:function. Names: {names}. The function is called with "
        "learning_rate.",
    )
    param_rules: str | None = setting(
        "str",
        None,
        "Hyperparameters by the paths of parameters. Example: '.*/(bias|gamma|beta):"
        "weight_decay=0; hidden_1/.*:learning_rate*=0.1; hidden_2/.*:freeze'.",
        group="Optimizer",
    )
    gradient_accumulation_steps: int = setting(
        "int", 1, "Batches whose gradients are summed for an update.", at_least=1
    )
    lazy_embeddings: bool = setting(
        "bool",
        False,
        "Update only the rows of embeddings that have a gradient, for large vocabularies; this is "
        "another algorithm than the optimizer's.",
    )
    schedule: ScheduleField = ScheduleField("constant")
    monitors: MonitorsField = MonitorsField("monitors", ())
    regularizer: OptionalFunctionField = OptionalFunctionField(
        "regularizer",
        None,
        "Penalty on the kernels: name or module:function. Names: {names}. The function is called "
        "with the parameters.",
    )
    regularized_params: str | None = setting(
        "str", None, f"Parameters to penalize: {_BY_PATH}.", group="Regularizer"
    )
    constraint: OptionalFunctionField = OptionalFunctionField(
        "constraint",
        None,
        "Constraint on the kernels: name or module:function. Names: {names}. It is applied after "
        "each update; the function is called with a kernel.",
    )
    constrained_params: str | None = setting(
        "str", None, f"Parameters to constrain: {_BY_PATH}.", group="Constraint"
    )
    clipping: ClippingField = ClippingField("clipping", None)
    weight_average: AverageConfig = field(default=AverageConfig())
    loss: FunctionField = FunctionField(
        "loss",
        AUTO,
        "Loss: name, auto or module:function. Names: {names}. auto: cross-entropy for classes, "
        "mean squared error for numbers. The function takes (y_true, y_pred), with classes as "
        "indices, and returns the loss of each example.",
    )
    output_losses: tuple[str, ...] = setting(
        "strs",
        (),
        "Other losses for some of a model's outputs, as in aux=huber; default: the loss for each.",
        group="Loss",
    )
    loss_weights: tuple[str, ...] = setting(
        "strs",
        (),
        "Weights of the losses of a model's outputs in their sum; as in main=0.9,aux=0.1; default: "
        "1 for each.",
    )
    metrics: FunctionsField = FunctionsField(
        "metrics",
        AUTO,
        "Metrics: names, auto or module:function. They are comma-separated. Names: {names}. auto: "
        "accuracy for classes, mean squared and mean absolute error for numbers. The function "
        "takes (y_true, y_pred).",
    )
    epochs: int = setting("int", 10, "Passes over the training examples.", group="Run", at_least=1)
    batch_size: int = setting("int", 32, "Examples in a batch.", at_least=1)
    seed: int = setting("int", 0, "Seed of everything random.", at_least=0, at_most=MAX_SEED)
    precision: str | None = setting(
        "str",
        None,
        "Precision in which the model computes; default: the one it was built in, float32. The "
        "mixed ones keep parameters in float32.",
        choices=PRECISIONS,
    )
    execution: str = setting(
        "str",
        AUTO,
        "How training steps are executed. graph: as a TensorFlow graph; xla: compiled by XLA; "
        "xla_update: as a graph whose optimizer update is compiled; auto: chosen by model and "
        "device, or by timing each of them if the run is long.",
        choices=EXECUTIONS,
    )
    gradient_checkpointing: bool = setting(
        "bool",
        False,
        "Recompute activations in the backward pass; this takes less memory, and the time of about "
        "one more forward pass. Results are equal up to rounding.",
    )
    strategy: str = setting(
        "str",
        AUTO,
        "Devices that train the model. one_device: one; mirrored: several devices of this machine; "
        "multi_worker: the processes that $TF_CONFIG names, each started by this command with the "
        "same flags; auto: all that are available.",
        choices=STRATEGIES,
    )
    replicas: int | None = setting(
        "int",
        None,
        "Number of devices of --strategy=mirrored; default: all accelerators. Without any, each "
        "replica is a part of the CPU.",
        at_least=1,
        at_most=MAX_REPLICAS,
    )
    nonfinite: str = setting(
        "str",
        "epoch",
        "What to do at infinities and NaNs. epoch: stop after an epoch whose loss is not finite. "
        "stop, skip, roll_back: test every step, which takes some time, and stop before a bad one, "
        "skip it, or return to the newest checkpoint and continue after the bad batches. none: do "
        "nothing.",
        choices=POLICIES,
    )
    worker_timeout: float = setting(
        "float", 300.0, "Seconds that workers wait for each other at the start.", above=0
    )
    callbacks: tuple[str, ...] = setting(
        "strs",
        (),
        "Your callbacks, comma-separated, as module:name; functions called after each epoch with "
        "the status of training, or classes derived from trainlib.callbacks.Callback.",
    )
    validation_ratio: bool = setting(
        "bool",
        False,
        "Print validation loss / training loss after each epoch.",
    )
    calibrate: bool = setting(
        "bool",
        False,
        "Fit a temperature on the validation data after training; the probabilities of the saved "
        "model then agree with frequencies.",
    )
    report: bool = setting(
        "bool",
        True,
        "Write report.html into the run folder at the end; this needs matplotlib.",
    )
    checkpoints: CheckpointConfig = field(default=CheckpointConfig())
    ensemble: EnsembleConfig = field(default=EnsembleConfig())
    tensorboard: TensorBoardConfig | None = field(default=None)
    norms: bool | None = setting(
        "bool",
        None,
        "Report the mean norms of gradients and updates; default: with --tensorboard.",
        group="TensorBoard",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check all settings, and those that depend on each other.

        Raises:
            ValueError, TypeError: as for the constructor.
        """
        check_settings(self)
        check_nested(self)
        _make_paths_absolute(self)
        check_combinations(self)

    @property
    def reports_norms(self) -> bool:
        """Whether norms of gradients and updates are reported."""
        return self.tensorboard is not None if self.norms is None else self.norms

    def to_json(self) -> str:
        """Return the configuration as JSON, the content of `config.json` in a run folder."""
        return serialization.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> ExperimentConfig:
        """Return the configuration that `to_json` wrote.

        Raises:
            ValueError, TypeError: the text is not JSON, a setting is unknown, or as for the
                constructor.
        """
        return serialization.from_json(cls, text)

    def to_flags(self) -> str:
        """Return the configuration as the text of a flag file, one flag of `train` per line."""
        return flat.to_flags(self)

    @classmethod
    def from_flags(cls, text: str) -> ExperimentConfig:
        """Return the configuration in the text of a flag file.

        Raises:
            ValueError, TypeError: a line is not a flag of `train`, or as for the constructor.
        """
        return flat.from_flags(cls, text)

    def monitor(self, name: str) -> FunctionConfig | None:
        """Return the monitor with a name; None if the experiment does not use it."""
        return next((x for x in self.monitors if x.name == name), None)


def _make_paths_absolute(config: ExperimentConfig) -> None:
    """Make the paths of data, models and modules absolute."""
    if is_path(config.dataset):
        object.__setattr__(config, "dataset", str(absolute(config.dataset)))
    if config.code_path:
        folders = (str(absolute(x)) for x in config.code_path.split(os.pathsep) if x)
        object.__setattr__(config, "code_path", os.pathsep.join(folders))
    if config.ensemble.configs:
        files = tuple(str(absolute(path)) for path in config.ensemble.configs)
        object.__setattr__(config.ensemble, "configs", files)
    unlabelled = config.pretrain.data
    if unlabelled is not None and is_path(unlabelled):
        object.__setattr__(config.pretrain, "data", str(absolute(unlabelled)))
    if config.model.name.endswith(".keras"):
        path = str(absolute(config.model.name))
        config.__dict__["model"] = dataclasses.replace(config.model, name=path)
