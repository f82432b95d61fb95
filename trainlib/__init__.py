"""trainlib: a pure-functional training core for TensorFlow.

The public names are those of `api`. A package imports its own layer and those above it.

Core, pure functions:
core: `Optimizer`, structures of tensors, checks, the declarations of hyperparameters.
optimizers, transforms, schedules, losses, metrics, monitors, regularizers, constraints: functions.
step: the training step.
registry: these functions by name.

Training:
training, callbacks: `Trainer`, the training loop, checkpoints; objects that follow a run.

Experiment:
data, models, user_code: data sets and models by name, and those of a user's module.
augmentation: random changes of training images.
experiment, tools: experiments from a configuration, and tools for several runs.
estimators: experiments as estimators of scikit-learn.
report, interop, verify: pages about runs, other libraries' states, comparison with them.

Command line:
cli: the commands.

trainlib needs Keras's TensorFlow backend: with another one, in KERAS_BACKEND or keras.json, the
first use of a public name raises ImportError. Images are channels_last: models made by name, and
all commands, require that of keras.config.image_data_format too.

Example:
    >>> import trainlib as tl
    >>> params = {"w": tf.constant([1.0, 2.0])}
    >>> tx = tl.chain(tl.clip_by_global_norm(1.0), tl.adamw(tl.cosine_decay(1e-3, 10_000)))
    >>> state = tx.init(params)
    >>> updates, state = tx.update({"w": tf.constant([3.0, -4.0])}, state, params)
    >>> print(tl.apply_updates(params, updates)["w"].numpy().round(4))
    [0.999 2.001]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainlib.api import *  # noqa: F403

__version__ = "0.1.0"

if not TYPE_CHECKING:  # a type checker knows the names of `api` only

    def __getattr__(name: str) -> Any:
        """Return a public name, imported at its first use: importing them all imports TensorFlow.

        Raises:
            ImportError: Keras has another backend than TensorFlow.
        """
        if name.startswith("_"):
            raise AttributeError(f"module 'trainlib' has no attribute {name!r}")
        try:
            importlib.import_module("trainlib.training.keras_settings").check_backend()
        except ValueError as error:
            raise ImportError(str(error)) from None
        api = importlib.import_module("trainlib.api")
        if name not in api.__all__:
            raise AttributeError(f"module 'trainlib' has no attribute {name!r}")
        return getattr(api, name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*importlib.import_module("trainlib.api").__all__, "__version__"]
