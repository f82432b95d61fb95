"""The training layer: places a `TrainState` on devices and runs the pure steps over it.

The model and its trainer:
trainer: `Trainer`.
pool: `TrainerPool`, programs that several trainers share.
layer_numbers: numbers of Keras layers, such as dropout rates, as values of the state; a model's
    architecture as text.
assembly: puts the parts of a trainer together.
objectives: the loss and the metrics of a trainer, of one output or of several.
output_names, output_targets: the names of a model's outputs; targets and weights by output.
evaluator: `Evaluator`, which needs no optimizer.
inference: evaluation and prediction, the base class of `Trainer` and `Evaluator`.
options, fit_options: the options of `Trainer` and of `fit`.
callback: `Callback`, the status it receives and the requests it returns.
checkpoints: `Checkpoints`.
functional_model: `FunctionalModel`, and Keras models as functions.
keras_call, model_variables: the forward pass of a Keras model, and its variables by path.
gradient_checkpointing, graph_parts, recomputation, dependence: parts of a Keras model that the
    backward pass computes again.
reentry: the contexts of a forward pass, for parts that are computed again.
layer_calls: calls of layers that are changed or observed.
adapted_layers: `Normalization` layers, which compute with the values of their variables.
embedding_rows: indices of embeddings that have no row.
recurrent_inputs: one matrix product for the inputs of all time steps of a recurrent layer.
variable_scope: the values of a model's variables in a forward pass, or in a part of it.
keras_losses, keras_objects: losses, metrics and regularizers of Keras.
layer_kinds: kinds of Keras's layers, by name.
keras_private: the private names of Keras and TensorFlow that training uses.
trainable: which layers of a Keras model are trained.
model_link: values that users assign to a Keras model between calls to its trainer.
from_logits, model_ending: whether a loss takes logits; the last activation of a model.
model_metrics: metrics on logits or on probabilities, following the loss.
strategies: `mirrored`, `multi_worker` and the other strategies by name.

The training loop:
fitting, fit_config: the arguments of `fit` as the configuration of a training loop.
context: the state, programs and results that a trainer shares with its loop.
loop: `TrainingLoop`, the epochs of a `fit`.
progress: the progress of a run, saved to checkpoints and restored.
evaluation: calls to the device for evaluation and prediction.
results: the numbers that a run reports.
display: `ProgressBar` and `LineLogger`, the progress on a terminal and in a log.
nonfinite: the policies for steps that are not finite.
replay, tensor_summary: a step of a run, repeated, and the ranges of all tensors in it.

On the devices:
programs, empty_states: the state in variables, compiled functions over it, and initial metric
    states.
shapes: a limit on the number of shapes for which programs are traced.
devices, replicas: loops of steps on one device and on several.
averages: averaged parameters, and the statistics of batch normalization for them.
replicated_model, batch_statistics, replica_checks, collectives: a model on several replicas.
execution, autotune: the choice between graph and XLA, and its measurement.
gpus: the GPUs that this process uses.
variables: values of structures of variables.

Input and files:
data_adapter, array_adapter, stream_adapter, chunks: batches from arrays and other sources.
array_tensors: arrays, and rows of them, as tensors in one copy.
lazy_array, kept_rows: arrays whose rows are read when a batch needs them, and cached in a file.
augmentation, changed_examples: random changes of the examples of a batch.
sources: data sets, generators, loaders and sequences of batches.
batches: the forms of data and batches that are accepted.
order: the order of examples.
resolve: losses and metrics by name.
keyword_options: keyword arguments as frozen dataclasses.
recast: rebuilds Keras models in another precision.
automatic_names: the names that Keras gives to layers, in checkpoints of several models.
checkpoint_files, files: files that are written atomically.
paths: paths as users write them, as runs record them, and as a terminal shows them.
cluster: the workers that TF_CONFIG lists.
memory: the memory that this process may still use.
processes: the commands of new processes of Python.
keras_settings: Keras's backend and image format.
"""
