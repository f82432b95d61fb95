"""Experiments around a training run: the learning-rate range test."""
