"""`Trainer`: trains a model by `fit`, evaluates it, predicts, and gives access to its state."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainlib.core.checks import check_integer
from trainlib.core.types import Optimizer, Tree
from trainlib.step.state import TrainState
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.assembly import TrainerArguments, assemble
from trainlib.training.callback import Results
from trainlib.training.data_adapter import Data
from trainlib.training.fit_config import FitConfig
from trainlib.training.fit_options import FitSettings, data_in_one_argument
from trainlib.training.fitting import configure_fit, open_checkpoints, run_fit
from trainlib.training.inference import Inference
from trainlib.training.keyword_options import settings_from, show_options
from trainlib.training.model_link import check_steps
from trainlib.training.objectives import Losses, objective_for_model
from trainlib.training.options import TrainerSettings
from trainlib.training.order import epoch_order
from trainlib.training.resolve import Metrics, check_optimizer_argument
from trainlib.transforms.inject import hyperparam

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainlib.training.fit_options import FitOptions
    from trainlib.training.options import TrainerOptions


_STARTING = threading.Lock()
"""Guards the flags of trainers that say that a `fit` is running."""


class Trainer(Inference):
    """Trains a model: holds its `TrainState` in variables and makes many steps per device call.

    Data are pairs (x, y) or triples (x, y, sample_weight) of arrays; x and y may be structures of
    arrays. They are placed on the device once; large ones, and those on a disk (`np.memmap`), are
    copied there in parts. Or data are batches of these, from a `tf.data.Dataset`, another
    iterable, or a function that returns one. Batches may have different sizes, by which they are
    weighted in the results.

    A Keras model trains as in `model.fit`. All state that its layers assign is carried from batch
    to batch, in evaluation and prediction too, and saved in checkpoints. Constraints of layers are
    applied after each update, masks of outputs are used in the loss and the metrics, and the
    trained values are assigned to the model. Values that you assign to the model between two calls
    are used by the next call; the optimizer keeps its state. The weight of a batch in the mean loss
    of an epoch is the number of its examples, or the sum of their weights; for losses of Keras it
    is the number. On replicas, a penalty that a layer computes from its batch is averaged over the
    parts of the batch, weighted by their examples. A penalty that is a sum over the batch raises an
    error.

    For a model with several outputs, arguments are given by output: as a dict by the names of the
    outputs, or as a list in their order. The names are those of Keras: names of layers for outputs
    in a list, keys for a dict, paths such as "heads/main" for other structures, and "output_1",
    "output_2", ... for a list that a custom `call` returns. Results are "loss", the weighted sum;
    "main_loss", the loss of an output, without its weight; and "main_accuracy", a metric of an
    output.

    Args:
        model: a built Keras model, or a `FunctionalModel` of any function and its parameters.
        loss: name of a registered loss, or a function `(y_true, y_pred) -> loss per example`; or
            these by output, None for an output without a loss. A single name, or function of the
            registry or of Keras, is the loss of each output of a graph of layers. A model of
            several outputs with a custom `call` needs losses by output: its outputs are not known
            before the first step. A custom function receives the structures of all targets and
            outputs.
        optimizer: an `Optimizer` such as `tl.adam(1e-3)`.
        metrics: names of registered metrics, or functions `(y_true, y_pred) -> value per example`;
            or a mapping from result names to these and to `Metric`s; or any of these by output.
            They are weighted by sample and class weights. Default: none.
        strategy: "one_device"; "mirrored", several devices of this machine; "multi_worker", the
            processes that TF_CONFIG lists, which must all make the same calls; "auto", whichever is
            available. Call `tl.mirrored(2)` before you build a model to split a CPU into two
            devices. Default: "auto".
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16", whatever the model
            was built in. Default: None, the precision it was built in.
        execution: "graph"; "xla", compiled whole; "xla_update", a graph whose optimizer update is
            compiled; "auto": "graph" if compiling would take longer than it saves, "xla" for longer
            runs of dense, recurrent and embedding layers, and for very long runs the fastest of
            them, found by timing. They round differently: to repeat a run bit for bit, give the
            `execution` that it had, which is also in its checkpoints. On a CPU, models of dense
            layers only, one of them with 8,192 weights or more, are evaluated in a graph in any
            case, and "xla" is refused for depthwise convolutions. Default: "auto".
        seed: integer of at least 0 that determines the order of examples and dropout. Default: 0.
        loss_weights: factors of the losses in their sum, by output. Default: None, 1 for each.
        from_logits: whether the model ends in logits, for losses that take logits or probabilities.
            Default: None, inferred from its last layer: a dense layer without activation gives
            logits, a softmax or a sigmoid gives probabilities. Give True or False for a model whose
            last layer does not show it. As in Keras, a cross-entropy of a softmax or a sigmoid is
            computed on the logits before it. Metrics of the registry follow the loss: if it takes
            logits, cross-entropies do too, and other metrics receive the probabilities. Custom
            metrics, `Metric`s and those of Keras receive the outputs as they are; see
            `tl.metrics.on_probabilities`. By output, or one value for all outputs whose losses take
            logits.
        regularizer: function `params -> penalty` such as `tl.l2(1e-4)`. Default: None.
        regularizer_mask: which parameters it penalizes: a function of a parameter's path, a regular
            expression that must match the whole path, a structure of bools, or None for all.
            Default: `tl.kernels`, parameters with two or more axes, so that biases are left out.
        loss_scale: a `LossScale` such as `tl.dynamic_loss_scale()`; None; or "auto", a dynamic one
            with mixed_float16. The history then contains the scale, the number of skipped steps
            and, if there were any, the first parameter whose gradient was not finite. Default:
            "auto".
        replicas: number of replicas, for "mirrored" only. Default: None, all accelerators.
        nonfinite: what happens at a step whose loss or gradients are not finite. "none": the
            optimizer applies it. "epoch": the same, but `fit` raises `NonFiniteError` after an
            epoch whose loss is not finite. The others test every step, which takes a little time;
            a bad step changes nothing and is left out of the results. "skip": it is counted and
            the run continues. "stop": `fit` raises `NonFiniteError`. "roll_back": `fit` restores
            the newest checkpoint and continues with the next batch; it raises if it would restore
            the same one again. A dynamic loss scale is first reduced to its minimum. If an update
            with finite gradients makes a parameter infinite or NaN, the run ends with
            `NonFiniteError` under all policies except "none", at the latest after the last epoch;
            "roll_back" restores a checkpoint first. Default: "epoch".
        norms: whether results contain "gradient_norm" and "update_norm", means over the steps; see
            `StepConfig`. Default: False.
        report: schedules by name; their values at the last update are added to the results of each
            epoch. Default: None.
        seconds_per_call: approximate duration of a call to the device in seconds, at least 0;
            callbacks run between calls. Default: 0.25.
        autotuner: the `Autotuner` of execution "auto". Default: one that measures runs of at least
            1,000 steps.
        augment: augmentation of the training examples: the result of `tl.augmentation.chain`, or a
            function `(x, y, key) -> (x, y)` of n examples. `key`, int64 [n, 2], depends on the
            seed, the epoch and the index of each example (its position in the epoch for a source of
            batches). The result for an example must depend on its row and its key only. Evaluation
            and prediction use the examples unchanged. Default: None.
        average: `tl.ema(0.999)` or `tl.swa(start=...)`, averages of the parameters that are used in
            evaluation and prediction and assigned to the model by `fit`; training continues with
            the parameters themselves. Constraints of layers are applied before. The statistics of
            batch normalization are averaged with `ema`; with `swa` they are computed by the
            averaged model over the training data, at the end of each epoch. Default: None.
        shared: programs leased from a `TrainerPool`, for short runs on one device; XLA then
            compiles only loops over the whole batches of arrays. Default: None, new programs.
        gradient_checkpointing: whether the backward pass recomputes activations instead of storing
            them, to save memory: in graphs of layers (Sequential, Functional), divided into parts
            by the sizes of activations. The results are equal up to rounding; a step takes the time
            of about one more forward pass. Layers that were made in a `keras.RematScope` are
            recomputed in any case, as the scope says. Default: False.

    Attributes:
        model: the model as given; `fit` assigns the trained values to a Keras model.
        context: the compiled programs, the strategy, the execution and the reader of results, which
            the trainer shares with its training loop.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the model is not built or defines `train_step`,
            `test_step` or `compute_loss`.

    Differences:
        Keras: the loss of an output over an epoch is a mean over batches that count alike, so that
            the results do not add up where the last batch is smaller. Outputs in a list that a
            custom `call` returns have the names of their losses. Metrics with thresholds, such as
            "binary_accuracy", are given logits as they are; a layer's constraint acts at every
            micro-batch of accumulated gradients, here at the updates; metrics that are not means,
            such as AUC, ignore masks; a stateful layer needs a batch size in each call, which is
            here by default the one of the layer. An `ema` in the optimizer averages the parameters
            before their layers' constraints, as in Keras; for the constrained ones use
            `tl.constrain` inside the optimizer.

    Example:
        >>> def line(params, model_state, x, training):
        ...     return tl.ModelOutput(x @ params["w"], model_state)
        >>> model = tl.FunctionalModel(line, {"w": tf.zeros([1, 1])})
        >>> trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.25))
        >>> x = np.ones([8, 1], "float32")
        >>> history = trainer.fit((x, 2 * x), batch_size=4, epochs=3)
        >>> [round(results["loss"], 4) for results in history]
        [2.5, 0.1562, 0.0098]
        >>> round(trainer.evaluate((x, 2 * x))["loss"], 4)
        0.001
        >>> trainer.predict(x[:2]).shape
        (2, 1)
        >>> def lines(params, model_state, x, training):
        ...     return tl.ModelOutput({"a": x @ params["w"], "b": x}, model_state)
        >>> trainer = tl.Trainer(
        ...     tl.FunctionalModel(lines, {"w": tf.zeros([1, 1])}),
        ...     {"a": "mean_squared_error", "b": "mean_absolute_error"}, tl.sgd(0.25),
        ...     loss_weights={"a": 0.5, "b": 0.25}, metrics={"b": ["mean_squared_error"]})
        >>> trainer.evaluate((x, {"a": 2 * x, "b": 3 * x}))
        {'loss': 2.5, 'a_loss': 4.0, 'b_loss': 2.0, 'b_mean_squared_error': 4.0}
    """

    @show_options(TrainerSettings)
    def __init__(
        self,
        model: Any,
        loss: Losses,
        optimizer: Optimizer,
        *,
        metrics: Metrics = (),
        strategy: str = "auto",
        precision: str | None = None,
        execution: str = "auto",
        seed: int = 0,
        **options: Unpack[TrainerOptions],
    ) -> None:
        check_optimizer_argument(optimizer)
        check_integer("seed", seed, at_least=0, at_most=2**63 - 1)
        settings = settings_from(TrainerSettings, "Trainer", options)
        check_steps(model)
        objective = objective_for_model(
            model, loss, metrics, settings.loss_weights, settings.from_logits
        )
        self.model = model
        self.context = assemble(
            TrainerArguments(
                model,
                objective,
                optimizer,
                settings,
                strategy=strategy,
                precision=precision,
                execution=execution,
                seed=seed,
            )
        )
        self._settings = settings
        self._is_training = False

    @property
    def state(self) -> TrainState:
        """The complete training state as tensors; assign one to continue from it."""
        return self.context.state

    @state.setter
    def state(self, state: TrainState) -> None:
        self.context.state = state

    @property
    def weights(self) -> tuple[Tree, Tree]:
        """The model's parameters and its other state as tensors; assign them to restore them.

        With an average they are the averaged ones; assigned ones replace the others too.
        """
        return self.context.weights

    @weights.setter
    def weights(self, weights: tuple[Tree, Tree]) -> None:
        self.context.weights = weights

    @property
    def execution(self) -> str:
        """How steps are executed: "graph", "xla" or "xla_update"."""
        return self.context.execution

    @property
    def traces(self) -> int:
        """Number of functions that were traced."""
        return self.context.programs.traces

    @property
    def batches_seen(self) -> int:
        """Number of batches trained on, those of skipped steps included."""
        return self.context.results.batches_seen()

    def hyperparam(self, name: str) -> float:
        """Return the current value of a hyperparameter in the optimizer's state.

        Args:
            name: name of the hyperparameter, such as "learning_rate".

        Raises:
            ValueError: the state does not hold it, or holds several values.

        Example:
            >>> model = tl.FunctionalModel(lambda p, s, x, training: tl.ModelOutput(x, s), {})
            >>> optimizer = tl.inject_hyperparams(tl.sgd)(learning_rate=0.5)
            >>> trainer = tl.Trainer(model, "mean_squared_error", optimizer)
            >>> trainer.set_hyperparams(learning_rate=0.25)
            >>> trainer.hyperparam("learning_rate")
            0.25
        """
        return hyperparam(self.context.programs.variables.opt_state, name)

    def set_hyperparams(self, **hyperparams: float) -> None:
        """Change hyperparameters in the optimizer's state, as `tl.set_hyperparams` does.

        The optimizer must be made by `inject_hyperparams` or `param_rules`. Nothing is retraced.

        Args:
            **hyperparams: new values by name.

        Raises:
            ValueError: the state does not hold one of them.
        """
        self.context.set_hyperparams(**hyperparams)

    @data_in_one_argument
    @show_options(FitSettings)
    def fit(self, data: Data, **options: Unpack[FitOptions]) -> list[Results]:
        """Train for some epochs, each over all the data.

        Args:
            data: arrays (x, y) or (x, y, sample_weight), as a tuple or a list; or a source of
                batches of these: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a `DataLoader` of
                PyTorch, another iterable, or a function that returns one. Tables and columns of
                pandas and tensors of PyTorch are arrays. The batches of a source may differ in
                their shapes; each shape is compiled. Weights have the shape [batch], [batch, 1]
                or that of the losses, such as [batch, time]. For a model of several outputs, y and
                sample_weight are dicts by the names of the outputs or lists in their order; a
                single array of weights applies to all outputs. Outputs without a loss and metrics
                need no targets.
            batch_size: examples per batch, at least 1, for arrays only. Default: None, 32.
            epochs: number of the last epoch, at least 1: with `initial_epoch` 0 the number of
                epochs. Default: 1.
            initial_epoch: number of epochs that are left out, from 0 to `epochs`: those of an
                earlier `fit`. Epochs are then numbered from `initial_epoch` + 1. Default: 0.
            shuffle: whether each epoch takes the examples in a different random order, which
                follows from the seed and the epoch, for arrays only: a source is read in its own
                order. Default: True.
            steps_per_epoch: batches per epoch, at least 1, for sources of batches only; the next
                epoch continues after them. A source that ends is read again; one that never ends
                needs it. Default: None, all.
            class_weight: weights of the classes by index, as in {0: 1.0, 1: 2.5}, which multiply
                the sample weights in training; other classes have weight 1. The targets must be
                class indices or one-hot. For a model of several outputs, such weights by output.
                Default: None.
            validation_data: data that are evaluated after each epoch, in the form of `data`.
                Default: None.
            validation_split: fraction of the arrays used for validation, in [0, 1): their last
                part, before the examples are shuffled. Default: 0, none.
            validation_batch_size: examples per batch of the validation, at least 1, for arrays
                only. Default: None, 512.
            validation_steps: batches of the validation, at least 1, from the first on; a source
                that never ends needs it. Default: None, all.
            validation_freq: number of epochs from one validation to the next, at least 1; or the
                epochs that are validated, counted from 1. Default: 1.
            callbacks: `tl.callbacks.Callback`s, and functions of the status that are called after
                each epoch; called in this order. Default: none.
            checkpoints: where checkpoints are saved when a callback such as
                `tl.callbacks.SaveEvery` requests one, and where an interrupted run is resumed
                from: a `tl.Checkpoints`, or its folder. Default: None.
            verbose: what is printed. 0: nothing; 1: a progress bar; 2: a line per epoch; "auto": a
                progress bar on a terminal, a line per epoch in a notebook, nothing elsewhere or if
                `callbacks` has a display. Default: "auto".

        Returns:
            A dict per epoch: "epoch", "step", the loss and the metrics over the epoch, the same
            with the prefix `val_` over the validation data, the learning rate and what else is
            reported, and "seconds". The loss and the metrics are NaN for an epoch whose steps were
            all skipped.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, a source has fewer batches than an argument
                says or is known never to end, or a checkpoint belongs to another run.
            OSError: a checkpoint cannot be written.
            NonFiniteError: as the option `nonfinite` says.
            RuntimeError: another `fit` of this trainer is running.

        Differences:
            Keras: data are two arguments, x and y; the batches of a PyDataset are shuffled too; a
            source that has too few batches ends the run with a warning; it prints where there is
            no terminal. A weighted loss is divided by the sum of the weights here, as with Keras's
            reduction "mean_with_sample_weight", and by the number of examples in Keras; a loss of
            Keras keeps its own reduction.
        """
        with self._training_alone():
            self.context.read_model(training=True)
            settings = settings_from(FitSettings, "fit", options)
            config = configure_fit(self.context, data, settings, self._settings)
            checkpoints = open_checkpoints(settings)
            try:
                return run_fit(self.context, config, checkpoints, self._settings.autotuner)
            finally:
                self.context.write_model(training=True)
                if checkpoints is not None:
                    checkpoints.wait()

    @contextlib.contextmanager
    def _training_alone(self) -> Iterator[None]:
        """Refuse a second `fit` while one is running: the steps of one of them would be lost."""
        with _STARTING:
            if self._is_training:
                raise RuntimeError(
                    "this trainer is training already, in another thread or around a callback: "
                    "wait for it, or give each thread its own trainer"
                )
            self._is_training = True
        try:
            yield
        finally:
            self._is_training = False

    @show_options(FitSettings)
    def fit_config(self, data: Data, **options: Unpack[FitOptions]) -> FitConfig:
        """Return the arguments of `fit`, checked, as a training loop takes them."""
        settings = settings_from(FitSettings, "fit", options)
        return configure_fit(self.context, data, settings, self._settings)

    def autotune(
        self, data: Data, *, batch_size: int | None = None, epochs: int = 1
    ) -> dict[str, float]:
        """Choose the execution of steps in advance; otherwise `fit` does so when it starts.

        With execution "auto" and a long run, each execution is timed on the first batches, and
        `trainer.execution` becomes the fastest; the state is unchanged. The choice is cached for
        later runs of the same model, shapes and number of steps: executions round differently, so
        that a choice decides the last bits of a run.

        Args:
            data: as for `fit`.
            batch_size: as for `fit`.
            epochs: number of epochs of the run. Default: 1.

        Returns:
            Steps per second by execution; empty if nothing was measured.
        """
        adapter = self.context.adapt("data", data, batch_size)
        if isinstance(adapter, ArrayAdapter):  # a stream cannot be read twice
            order = epoch_order(self.context.seed, 0, adapter.size)
            chunks = self.context.augmented(adapter.training(order), adapter, 0)
            steps = epochs * adapter.batches()
            self.context.tune(self._settings.autotuner, chunks, steps)
        choice = self.context.choice
        return {} if choice is None else choice.speeds
