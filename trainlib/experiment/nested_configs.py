"""The nested dataclasses of an `ExperimentConfig`."""

from __future__ import annotations

from trainlib.experiment.average_config import AverageConfig
from trainlib.experiment.checkpoint_config import CheckpointConfig
from trainlib.experiment.data_config import DataConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.pretrain_config import PretrainConfig
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.tensorboard_config import TensorBoardConfig
from trainlib.experiment.transfer_config import TransferConfig

NESTED = {
    "data": DataConfig,
    "transfer": TransferConfig,
    "pretrain": PretrainConfig,
    "schedule": ScheduleConfig,
    "weight_average": AverageConfig,
    "checkpoints": CheckpointConfig,
    "ensemble": EnsembleConfig,
    "tensorboard": TensorBoardConfig,
}
"""The nested dataclasses of `ExperimentConfig`, by field."""
