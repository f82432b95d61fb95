"""Whole experiments: a configuration, what is built of it, and how it is run.

config: `ExperimentConfig`, everything that `train` can be set to do.
parts: its nested parts: data, schedule, checkpoints, TensorBoard.
functions: functions by name with hyperparameters: `config("nadam", learning_rate=1e-3)`.
fields: the fields of these dataclasses, declared with their flags and checked.
values: types of values, and their text.
flat: a configuration as values by flag, and as a flag file.
hyperparameter_flags: the flags of hyperparameters, and which functions they choose.
serialization: a configuration as JSON.
targets: the form of the targets of each loss.
task: the data in their parts, and what is learned from them.
building: models, loss, metrics and regularizer.
optimization: the optimizer with its schedule, clipping, hyperparameters by path and constraint.
training: the trainer, its callbacks and its checkpoints.
run_folder: the files of a run.
range_test: the learning-rate range test.
run: `run_experiment`.
result: what an experiment ends with, and how a process takes part in it.
saved_run: a finished run, evaluated again, and its predictions.
reporting: the reports of run folders.
resume: the configuration with which a run is resumed.
replay: one step of a run made again.
verify_resume: whether an experiment ends in the same bits when it is stopped and resumed.
partial_run: a part of an experiment, in a process of its own.
"""

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import FunctionConfig, config
from trainlib.experiment.parts import (
    CheckpointConfig,
    DataConfig,
    ScheduleConfig,
    TensorBoardConfig,
)
from trainlib.experiment.result import ExperimentResult
from trainlib.experiment.run import run_experiment

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "ExperimentConfig",
    "ExperimentResult",
    "FunctionConfig",
    "ScheduleConfig",
    "TensorBoardConfig",
    "config",
    "run_experiment",
]
