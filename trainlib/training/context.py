"""`TrainingContext`: the state, programs and results that a trainer shares with its loop."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.tree import check_same_structure
from trainlib.core.types import Tree
from trainlib.step.averages import averaged_weights
from trainlib.step.repartition import carried_over, with_weights_of
from trainlib.step.state import TrainState
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmenter
from trainlib.training.autotune import Autotuner, Choice
from trainlib.training.averages import (
    estimate_statistics,
    has_own_statistics,
    overwrite_average,
    takes_statistics,
)
from trainlib.training.batch_statistics import has_batch_norm
from trainlib.training.batches import Reader
from trainlib.training.callback import Results
from trainlib.training.chunks import Chunk
from trainlib.training.data_adapter import (
    Data,
    DataAdapter,
    as_data_adapter,
    as_input_adapter,
    check_batches,
)
from trainlib.training.embedding_rows import check_indices
from trainlib.training.evaluation import trace_evaluation, training_workload
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.model_link import ModelLink
from trainlib.training.output_targets import reader_of
from trainlib.training.programs import Programs, state_before_first_step
from trainlib.training.results import ResultsReader
from trainlib.training.strategies import is_multi_worker
from trainlib.training.stream_adapter import StreamAdapter
from trainlib.training.trainable import (
    flags_with,
    matching_layers,
    set_trainable_flags,
    trainable_flags,
)
from trainlib.training.variables import assign_values, read_values
from trainlib.transforms.inject import set_hyperparams


@dataclasses.dataclass
class TrainingContext:
    """State, programs and results that a trainer shares with its training loop.

    Attributes:
        programs: the state in variables and the compiled functions over it.
        strategy: the `tf.distribute.Strategy`; None for one device.
        execution: how steps are executed: "graph", "xla" or "xla_update". The autotuner and a
            checkpoint may change it before the first step.
        results: reads the results from the state.
        fixed_execution: whether the user chose the execution.
        untuned: whether the autotuner may still change it.
        measures: whether the autotuner may measure executions; otherwise it only replaces an
            execution that XLA cannot compile.
        min_xla_steps: number of steps, earlier runs included, below which a run is executed as a
            graph while the execution is untuned.
        choice: the choice of the autotuner; None if it did not choose.
        model: the Keras model whose values the state holds; None for other models.
        stateful: the name of the first stateful layer, and its batch size; None if there is none.
        augmenter: augments the training examples; None if they are not augmented.
        momenta: momentum, by key in the model state, of the statistics of batch normalization that
            are estimated for the averaged parameters; {} if none are.
        rebuild: function that returns a new context of the same model and options, for the layers
            that are trainable when it is called.
        recomputes: whether the backward pass recomputes parts of a Keras model.
    """

    programs: Programs
    strategy: Any
    execution: str
    results: ResultsReader
    fixed_execution: bool = True
    untuned: bool = False
    measures: bool = True
    min_xla_steps: int = 0
    choice: Choice | None = None
    model: ModelLink | None = None
    stateful: tuple[str, int] | None = None
    augmenter: Augmenter | None = None
    momenta: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rebuild: Callable[[], TrainingContext] | None = None
    recomputes: bool = False

    def __post_init__(self) -> None:
        self._default = self.execution

    @property
    def state(self) -> TrainState:
        """The complete training state as tensors; assign one to continue from it."""
        return self.programs.read()

    @state.setter
    def state(self, state: TrainState) -> None:
        _check_fits("state", self.programs.variables, state)
        assign_values(self.programs.variables, state)

    @property
    def inference_execution(self) -> str:
        """The execution of evaluation and prediction: a graph while others may be measured.

        The loss or a metric may have operations that XLA cannot compile, which a run finds out.
        """
        return "graph" if self.untuned and self.measures else self.execution

    @property
    def weights(self) -> tuple[Tree, Tree]:
        """The model's parameters and its other state as tensors; assign them to restore them."""
        variables = self.programs.variables
        state: TrainState = read_values(variables._replace(opt_state=()))
        return averaged_weights(state)

    @weights.setter
    def weights(self, weights: tuple[Tree, Tree]) -> None:
        variables = self._weights()
        _check_fits("weights", variables, weights)
        assign_values(variables, weights)
        overwrite_average(self.programs.variables, *weights)

    @functools.cached_property
    def read(self) -> Reader:
        """The reader of arrays and batches (x, y) or (x, y, sample_weight)."""
        return reader_of(self.programs.config)

    @property
    def seed(self) -> int:
        """The seed of the order of examples."""
        return int(self.programs.variables.seed.numpy())

    def set_hyperparams(self, **hyperparams: float) -> None:
        """Change hyperparameters in the optimizer's state."""
        old = self.programs.variables.opt_state
        new = set_hyperparams(old, **hyperparams)
        for variable, x in zip(tf.nest.flatten(old), tf.nest.flatten(new), strict=True):
            if x is not variable:
                variable.assign(x)

    @property
    def trainable_flags(self) -> list[bool]:
        """Which layers and variables of the Keras model are trained; [] for other models."""
        return [] if self.model is None else trainable_flags(self.model.model)

    @trainable_flags.setter
    def trainable_flags(self, flags: Sequence[bool]) -> None:
        if self.model is None or list(flags) == self.trainable_flags:
            return
        assert self.rebuild is not None
        old, seed = self.state, self.seed
        set_trainable_flags(self.model.model, flags)
        new = self.rebuild()
        config = new.programs.config
        weights = with_weights_of(new.state, old)
        model = FunctionalModel(config.apply_fn, weights.params, weights.model_state)
        new.programs.traces += self.programs.traces
        self.programs, self.results, self.model = new.programs, new.results, new.model
        self.momenta = new.momenta
        self.state = carried_over(state_before_first_step(config, model, seed), old)

    def flags_with(self, pattern: str, trainable: bool) -> list[bool]:
        """Return which layers and variables are trained after those of a pattern are set.

        Raises:
            ValueError: it matches no layer, or the model is not one of Keras.
        """
        if self.model is None:
            raise ValueError(
                f"layers {pattern!r}: a FunctionalModel has none; freeze parameters by tl.freeze"
            )
        return flags_with(self.model.model, pattern, trainable)

    def augmented(self, chunks: Iterator[Chunk], data: DataAdapter, epoch: int) -> Iterator[Chunk]:
        """Return the chunks of a training epoch, augmented if the trainer has an augmentation."""
        return chunks if self.augmenter is None else self.augmenter(chunks, data, self.seed, epoch)

    def execution_of_run(self, autotuner: Autotuner, steps: int) -> str:
        """Return the execution with which a run begins; the autotuner may measure a faster one.

        A run that is too short for XLA to save time is executed as a graph.

        Args:
            autotuner: the autotuner of the run.
            steps: number of steps of the run; 0 if it is unknown.
        """
        if not self.untuned:
            return self.execution
        return "graph" if self._is_short(autotuner, steps) else self._default

    def _is_short(self, autotuner: Autotuner, steps: int) -> bool:
        """Return whether a run of so many steps is too short for XLA; False for 0, unknown."""
        made = int(self.programs.variables.step.numpy())
        return 0 < steps and made + steps < min(self.min_xla_steps, autotuner.min_steps)

    def tune(self, autotuner: Autotuner, chunks: Iterator[Chunk], steps: int) -> Iterator[Chunk]:
        """Choose the execution of a run of `steps` steps, and return its chunks.

        The executions are timed on the first chunk; the state is unchanged. Nothing is timed if
        the execution is already chosen. A run that is too short for XLA is executed as a graph, and
        the next run of the same trainer chooses again.
        """
        if not self.untuned:
            return chunks
        if self._is_short(autotuner, steps):
            self.execution = "graph"
            return chunks
        self.untuned, self.execution = False, self._default
        first = next(chunks)
        traces, state = self.programs.traces, self.state
        work = training_workload(self.programs, self.execution, first, steps)
        try:
            self.choice = autotuner.choose(self.execution, work, self.measures)
            self.execution = self.choice.execution
        finally:
            self.state, self.programs.traces = state, traces
        return itertools.chain([first], chunks)

    def adapt(
        self, name: str, data: Data, batch_size: int | None = None, **options: Any
    ) -> DataAdapter:
        """Return data as an adapter; several workers take arrays only."""
        options = {"read": self.read, **self._batch_options(options)}
        adapter = as_data_adapter(name, data, batch_size, **options)
        self._check_batches(name, adapter)
        if isinstance(adapter, StreamAdapter) and is_multi_worker(self.strategy):
            raise ValueError(
                f"{name} must be arrays on several workers, got a source of batches: pass "
                "(x, y) or (x, y, sample_weight)"
            )
        return adapter

    def adapt_inputs(self, x: Any, batch_size: int | None = None, **options: Any) -> DataAdapter:
        """Return inputs as an adapter of batches (x,)."""
        adapter = as_input_adapter(x, batch_size, **self._batch_options(options))
        self._check_batches("x", adapter)
        return adapter

    def _batch_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return options of an adapter, with the batch size of a stateful layer as default."""
        return options if self.stateful is None else options | {"default": self.stateful[1]}

    def _check_batches(self, name: str, adapter: DataAdapter) -> None:
        """Raise `ValueError` unless a Keras model takes the indices, and the size of batches."""
        if self.model is not None and isinstance(adapter, ArrayAdapter):
            check_indices(name, adapter, self.model.embeddings)
        if self.stateful is not None:
            check_batches(name, adapter, *self.stateful)

    def read_model(self, training: bool = False) -> None:
        """Copy values that users assigned to the Keras model into the state.

        Args:
            training: whether the model is read before training. Default: False.

        Raises:
            ValueError: the model has other layers than when the trainer was made, or is to be
                trained and other layers are frozen.
        """
        if self.model is not None:
            if training:
                self.model.check_trainable()
            self.model.read()

    def reset_model_metrics(self) -> None:
        """Reset the metrics of the Keras model's layers, before a pass over data."""
        if self.model is not None:
            self.model.reset_metrics()

    def model_metrics(self) -> Results:
        """Return the values of the metrics of the Keras model's layers, by name."""
        return {} if self.model is None else self.model.metric_results()

    def result_names(self, has_validation: bool) -> list[str]:
        """Return the names of the results that each epoch of a run has."""
        own = list(self.model_metrics())
        validation = [f"val_{name}" for name in own] if has_validation else []
        return [*self.results.names(has_validation), *own, *validation]

    def check_statistics(self, data: DataAdapter, patterns: Iterable[str] = ()) -> None:
        """Raise `ValueError` if statistics are estimated over data that cannot be read again.

        Args:
            data: the training data.
            patterns: patterns of layers that will be trained. Default: none.
        """
        if isinstance(data, StreamAdapter) and (
            self.momenta or any(map(self._takes_statistics_of, patterns))
        ):
            raise ValueError(
                "average is tl.swa, for which the statistics of batch normalization are estimated "
                "over the training data again, but these are a source of batches: give arrays, or "
                "use tl.ema"
            )

    def _takes_statistics_of(self, pattern: str) -> bool:
        """Return whether statistics will be estimated once layers of a pattern are trained."""
        if self.model is None or not takes_statistics(self.programs.variables.average):
            return False
        return any(map(has_batch_norm, matching_layers(self.model.model, pattern)))

    def estimate_statistics(self, chunks: Callable[[], Iterator[Chunk]]) -> None:
        """Estimate the statistics of averaged parameters, if an average needs them.

        Args:
            chunks: function that returns the training data of an epoch.
        """
        if self.momenta and has_own_statistics(self.programs.variables.average):
            estimate_statistics(self.programs, self.momenta, chunks())

    def trace_evaluation(self, data: Data, batch_size: int) -> Results:
        """Trace the evaluation of a batch, and return the results over no examples.

        Nothing is computed on the data, and the state stays as it is.
        """
        open_rows = self.programs.devices.open_rows
        chunk = next(iter(self.adapt("data", data, batch_size).evaluation(open_rows)))
        empty = trace_evaluation(self.programs, self.execution, chunk)
        return self.model_metrics() | self.results.results(empty)

    def write_model(self, training: bool = False) -> None:
        """Assign the state's values to the Keras model, if training or inference changed them."""
        if self.model is not None and (training or self.programs.changed_in_inference):
            self.model.write()

    def _weights(self) -> tuple[Tree, Tree]:
        """Return the variables of the parameters and of the model's other state."""
        return self.programs.variables.params, self.programs.variables.model_state


def _check_fits(name: str, variables: Tree, values: Tree) -> None:
    """Raise unless the values have the structure and the shapes of the variables."""
    check_same_structure(f"the trainer's {name}", variables, name, values)
    for variable, x in zip(tf.nest.flatten(variables), tf.nest.flatten(values), strict=True):
        if not variable.shape.is_compatible_with(np.shape(x)):
            raise ValueError(
                f"{name} must have the trainer's shapes: got {list(np.shape(x))} "
                f"for {list(variable.shape)}"
            )
