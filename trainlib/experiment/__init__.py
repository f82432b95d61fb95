"""Experiments: their configuration, the objects built from it, and how they are run.

config: `ExperimentConfig`, all settings of an experiment.
parts: its nested parts: data, schedule, checkpoints, TensorBoard.
functions: functions by name with hyperparameters: `config("nadam", learning_rate=1e-3)`.
fields: the fields of these dataclasses, declared with their flags and checked.
values: types of values, and their text.
flat: a configuration as values by flag, and as a flag file.
hyperparameter_flags: the flags of hyperparameters, and which functions they choose.
serialization: a configuration as JSON.
targets: the form of the targets of each loss.
task: `Task`, the data in parts with their loss, targets and metrics.
dataset_loading: the data set: by name, from a file or from a custom function.
splits: the examples for training and for validation.
task_building: `build_task`.
training_data: the training data as a trainer takes them.
model_signature: the named inputs and outputs of a model, and the data in that form.
building: models, loss, metrics and regularizer.
optimization: the optimizer with its schedule, clipping, hyperparameters by path and constraint.
training: the trainer, its callbacks and its checkpoints.
run_folder: the files of a run.
range_test: the learning-rate range test.
preparation: a run before its first step.
programs_key: which trials share compiled programs.
run: `run_experiment`.
trial: `run_trial`, an experiment in memory.
transfer_config: `TransferConfig`, what is reused of a saved model and frozen how long.
transfer: the plan of such a run: layers, epochs and rates.
pretrain_config: `PretrainConfig`, how hidden layers are trained without labels first.
pretraining: pretraining of an experiment's model, and what a run keeps of it.
average_config: `AverageConfig`, averages of the parameters that are evaluated.
ensemble_config: `EnsembleConfig`, how members of an ensemble differ and are averaged.
ensemble_members: the members: their configurations, their data, their training.
ensemble_checks: what an ensemble cannot do.
ensemble_scores: the scores of members and ensemble.
ensemble_average: the average of trained members, and its files.
ensemble: `run_ensemble`.
folds: the examples of each fold of a cross-validation, and its data.
cross_validation: `cross_validate`.
fold_results: its options and its result.
fold_files: its folder.
result: the result of an experiment, and the session of a process.
saved_run: evaluation and predictions of a finished run.
serving: a model as it is exported: raw values in, predictions by name out.
served_model: the Keras model that is exported.
export: `export_run`.
export_formats: how each format is written, and loaded again.
reporting: the reports of run folders.
resume: the configuration of a resumed run.
replay: one step of a run, repeated.
verify_resume: a check that a stopped and resumed experiment ends in the same bits.
partial_run: a part of an experiment, in a separate process.
jobs: a function on many arguments, in several processes.
job_process: one of these processes.
search: a search for the best settings (a package).
comparison: `compare`, several configurations over several seeds.
"""

from trainlib.experiment.average_config import AverageConfig
from trainlib.experiment.comparison.compare import Comparison, compare
from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.comparison.variants import vary
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.cross_validation import cross_validate
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
from trainlib.experiment.parts import (
    CheckpointConfig,
    DataConfig,
    ScheduleConfig,
    TensorBoardConfig,
)
from trainlib.experiment.pretrain_config import PretrainConfig
from trainlib.experiment.result import ExperimentResult
from trainlib.experiment.run import run_experiment
from trainlib.experiment.search.options import TuneConfig
from trainlib.experiment.search.result import TuneResult
from trainlib.experiment.search.tune import tune
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
