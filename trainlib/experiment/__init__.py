"""Experiments: their configuration, the objects built from it, and how they are run.

config: `ExperimentConfig`, all settings of an experiment; config_checks: those that depend on
    each other.
data_config, transfer_config, pretrain_config, schedule_config, average_config, checkpoint_config,
    ensemble_config, tensorboard_config: its nested dataclasses; nested_configs: a table of them.
functions: functions by name with hyperparameters: `config("nadam", learning_rate=1e-3)`.
fields: the fields of these dataclasses, declared with their flags and checked.
values: types of values, and their text.
flat: a configuration as values by flag, and as a flag file.
hyperparameter_flags: the flags of hyperparameters, and the functions that they belong to.
serialization: a configuration as JSON.
patterns: settings that are regular expressions.

task: `Task`, the data in parts with their loss, targets and metrics.
dataset_loading: the data set: by name, from a file or from a custom function.
splits: the examples for training and for validation.
task_building: `build_task`.
training_data: the training data as a trainer takes them.
streaming: training data that are read again in each epoch.
targets: the form of the targets of each loss.
heads: the loss, targets and metrics of one output.
balance: class weights and oversampling.
model_signature: the named inputs and outputs of a model, and the data in that form.
augmentation: the augmentation of the training examples.

model_building: the model.
custom_model: checks of custom models, and layers around them.
user_functions: custom functions.
scaling: layers that scale the inputs of a model.
memory: the memory that a model needs.
objective_building: the losses, the metrics and the regularizer.
optimization: the optimizer with its clipping, hyperparameters by path and constraint.
schedule_building: the learning-rate schedule.
transfer: the layers that are frozen, when they are unfrozen, and their learning rates.
training: the trainer, its callbacks and its checkpoints.
programs_key: which trials share compiled programs.

preparation: the steps before and after training that runs and trials share.
run: `run_experiment`.
trial: `run_trial`, an experiment in memory.
plan: the text of `train --dry_run`.
pretraining: pretraining of the model without labels.
range_test: the learning-rate range test.
calibration: the temperature of a classifier.
result: the result of an experiment, and the part of a process in it.
run_folder: the files of a run.
provenance: the command, the date and the versions of a result.
resume: the configuration of a resumed run.
replay: one step of a run, repeated.
verify_resume: the check that a stopped and resumed experiment ends in the same bits.
partial_run: the process in which `verify_resume` runs a part of an experiment.

saved_run: a finished run, read from its folder.
run_evaluation, run_prediction: results of a finished run, and its predictions for new data.
predictions: predictions of the test examples for reports.
serving, served_model: the exported model, from raw values to predictions by name.
export: `export_run`.
export_formats: the writer and the reader of each format.
reporting: the reports of run folders.

ensemble: `run_ensemble`.
ensemble_members: the configuration, the data and the training of a member.
ensemble_snapshots: members that are states of one run.
ensemble_checks: settings that an ensemble cannot have.
ensemble_scores: the scores of the members and of their average.
ensemble_average: the average of trained members, and its files.
folds: the examples of each fold of a cross-validation.
cross_validation: `cross_validate`.
fold_results: the options and the result of a cross-validation.
fold_files: the files of a cross-validation.
jobs, job_process: calls of a function with many arguments, in several processes.
monitored: the result by which runs are compared.
search: `tune`, a search for the best settings.
comparison: `compare`, several configurations over several seeds.
"""

from trainlib.experiment.average_config import AverageConfig
from trainlib.experiment.checkpoint_config import CheckpointConfig
from trainlib.experiment.comparison.compare import compare
from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.comparison.running import Comparison
from trainlib.experiment.comparison.variants import vary
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.cross_validation import cross_validate
from trainlib.experiment.data_config import DataConfig
from trainlib.experiment.ensemble import run_ensemble
from trainlib.experiment.ensemble_average import EnsembleResult
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.export import ExportData, Exported, export_run
from trainlib.experiment.fold_results import (
    CrossValidationError,
    CrossValidationResult,
    FoldConfig,
    FoldResult,
)
from trainlib.experiment.functions import FunctionConfig, config
from trainlib.experiment.pretrain_config import PretrainConfig
from trainlib.experiment.result import ExperimentResult
from trainlib.experiment.run import run_experiment
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.search.options import TuneConfig
from trainlib.experiment.search.result import TuneResult
from trainlib.experiment.search.tune import tune
from trainlib.experiment.tensorboard_config import TensorBoardConfig
from trainlib.experiment.transfer_config import TransferConfig
from trainlib.experiment.trial import TrialResult, run_trial

__all__ = [
    "AverageConfig",
    "CheckpointConfig",
    "CompareConfig",
    "Comparison",
    "CrossValidationError",
    "CrossValidationResult",
    "DataConfig",
    "EnsembleConfig",
    "EnsembleResult",
    "ExperimentConfig",
    "ExperimentResult",
    "ExportData",
    "Exported",
    "FoldConfig",
    "FoldResult",
    "FunctionConfig",
    "PretrainConfig",
    "ScheduleConfig",
    "TensorBoardConfig",
    "TransferConfig",
    "TrialResult",
    "TuneConfig",
    "TuneResult",
    "compare",
    "config",
    "cross_validate",
    "export_run",
    "run_ensemble",
    "run_experiment",
    "run_trial",
    "tune",
    "vary",
]
