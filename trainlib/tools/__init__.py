"""Procedures around training runs.

range_test: `lr_finder`, the learning-rate range test.
loss_curve: the losses of a range test, and the learning rates that follow from them.
"""
