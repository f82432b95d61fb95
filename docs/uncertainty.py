"""Print the tables of docs/uncertainty.md: MC dropout and temperature scaling, for some seeds.

python docs/uncertainty.py 0 1 2     # needs Fashion-MNIST; about a minute for each seed
"""

from __future__ import annotations

import sys

import numpy as np

import trainlib as tl
from trainlib.experiment.task_building import build_task

FLAGS = "--dataset=fashion_mnist\n--model=mlp\n--dropout=0.2\n--epochs=30\n--batch_size=128\n"
SAMPLES = 50


def rows(seed: int) -> dict[str, tuple[float, float, float]]:
    """Train with a seed, and return log-likelihood, accuracy and calibration error by prediction.

    The temperature is a part of the name of its prediction.
    """
    config = tl.ExperimentConfig.from_flags(f"{FLAGS}--seed={seed}")
    task = build_task(config)
    model = tl.run_trial(config, task).build_model()
    x, y = task.part("test")
    calibrated, fit = tl.calibrate(model, tuple(task.part("validation")))
    predictions = {
        "plain": model.predict(x, verbose=0),
        f"mean of {SAMPLES} samples": tl.mc_predict(model, x, samples=SAMPLES).mean,
        f"mean of {SAMPLES} samples, fixed masks": tl.mc_predict(
            model, x, samples=SAMPLES, masks="fixed"
        ).mean,
        f"temperature {fit.temperature:.2f}": calibrated.predict(x, verbose=0),
    }
    return {name: scores(y, np.asarray(p)) for name, p in predictions.items()}


def scores(y: np.ndarray, p: np.ndarray) -> tuple[float, float, float]:
    """Return negative log-likelihood, accuracy and expected calibration error."""
    error = tl.metrics.expected_calibration_error()
    return (
        float(np.mean(tl.metrics.log_loss(y, p))),
        float(np.mean(p.argmax(1) == y)),
        float(error.compute(error.from_model_output(y, p))),
    )


def main() -> None:
    """Print a table for each seed."""
    print("| seed | prediction | negative log-likelihood | accuracy | calibration error |")
    print("| --- | --- | --- | --- | --- |")
    for seed in map(int, sys.argv[1:] or ("0", "1", "2")):
        for name, (nll, accuracy, error) in rows(seed).items():
            print(f"| {seed} | {name} | {nll:.4f} | {accuracy:.4f} | {error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
