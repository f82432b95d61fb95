"""Whole experiments: a configuration, what is built of it, and how it is run.

config: `ExperimentConfig`, everything that `train` can be set to do.
parts: its nested parts: data, schedule, checkpoints, TensorBoard.
rules: rules by name with hyperparameters: `config("nadam", learning_rate=1e-3)`.
fields: the fields of these dataclasses, declared with their flags and checked.
values: types of values, and their text.
flat: a configuration as values by flag, and as a flag file.
rule_flags: the flags of hyperparameters, and which rules they choose.
serialization: a configuration as JSON.
"""

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.parts import (
    CheckpointConfig,
    DataConfig,
    ScheduleConfig,
    TensorBoardConfig,
)
from trainlib.experiment.rules import RuleConfig, config

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "ExperimentConfig",
    "RuleConfig",
    "ScheduleConfig",
    "TensorBoardConfig",
    "config",
]
