"""Fashion-MNIST with standardized pixels, as self-normalizing networks need it, for flag files.

Run these in this folder: `train --flagfile=schedule_power.txt`.
"""

import trainlib as tl


def fashion():
    """Return training and test images, each pixel of mean 0 and variance 1, with their classes."""
    data = tl.data.load_dataset("fashion_mnist")
    mean, std = data.train.x.mean(0), data.train.x.std(0)
    return tuple(
        (((part.x - mean) / std).astype("float32"), part.y) for part in (data.train, data.test)
    )
