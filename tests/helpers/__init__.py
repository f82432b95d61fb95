"""Helpers that several test files share.

classification: a small problem, its model and its trainer.
descents: the parameters after each step of an optimizer or an equation.
exact: hyperparameters that float32 holds exactly.
examples: how many random examples a property is tested on.
executions: the ways to run a function, by name: eager, graph and XLA.
regression: a small problem as arrays and as batches.
gradients: a function of (y_true, y_pred) and its gradient.
trainers: trainers that the tests of a file use one after another.
trees: the arrays and the bits of a structure of tensors, and assertions on two structures.
metrics: classes and scores, and the value of a metric on arrays.
monitors: monitors run over a history of results.
given_gradients: a model whose gradients are the batch.
keras_models: Keras models of many kinds, with data and losses.
beside_keras: Keras models trained by `Trainer` and by `model.fit`, side by side.
linear: a linear model with its loss and gradients in NumPy.
forked: Python in processes forked from one that has TensorFlow loaded.
processes: Python in a separate process.
commands: commands run inside the test process, and a toy command.
experiments: experiments as flags, and small ones.
workers: `train` in several processes, and what their run leaves.
predictions: random predictions of classes and of numbers.
smoothing: smoothed losses, by the definition of their weights.
tables: tables of text as files, and those that are refused.
modules: packages that are not installed.
"""
