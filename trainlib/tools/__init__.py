"""Procedures around training runs.

calibration: `calibrate` and `fit_temperature`, probabilities that agree with frequencies.
dropout_samples: passes of a model with dropout switched on.
loss_curve: the losses of a range test, and the learning rates that follow from them.
paired_tests: differences between methods that ran with the same seeds, with their significance.
range_test: `lr_finder`, the learning-rate range test.
uncertainty: `mc_predict`, predictions with their uncertainty.
"""
