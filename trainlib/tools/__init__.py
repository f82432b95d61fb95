"""Procedures around training runs.

calibration: `calibrate` and `fit_temperature`, probabilities that agree with frequencies.
diversity: the diversity of an ensemble's models, and the gain of the ensemble.
comparison: contenders over several seeds, ranked and tested.
dropout_samples: passes of a model with dropout switched on.
ensemble: `Ensemble`, several models as one.
ensemble_model: one Keras model that averages the predictions of several.
ensembling: averages of predictions, and the weights of the models in them.
weighted_average: the weighted average of predictions, and its loss as a function of the weights.
fold_scores: means over folds with their intervals, bias and variance of predictions.
loss_curve: the losses of a range test, and the learning rates suggested by them.
paired_tests: differences between methods that ran with the same seeds, with their significance.
pretraining: `pretrain`, hidden layers trained without labels.
pretrain_options: the options of `pretrain`.
feature_masking: examples with masked features.
range_test: `lr_finder`, the learning-rate range test.
trial_records: the finished trials of a search, and the best of them.
uncertainty: `mc_predict`, predictions with their uncertainty.
"""
