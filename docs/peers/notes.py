"""What each reproduction shows, what trainlib does, and where users of the library discuss it."""

from __future__ import annotations

from typing import NamedTuple

KERAS = "https://github.com/keras-team/keras/issues/"
TENSORFLOW = "https://github.com/tensorflow/tensorflow/issues/"


class Note(NamedTuple):
    """The text about a reproduction.

    Attributes:
        why: why the library computes that.
        here: what trainlib does.
        link: a thread of the library's users. Default: none was found.
    """

    why: str
    here: str
    link: str = ""


NOTES = {
    "Gradients are clipped before they are summed": Note(
        "The optimizer clips in each replica, and the sum over the replicas comes after it, so "
        "that the update is longer than the bound and has another direction.",
        "Sums first, and clips once.",
        f"{TENSORFLOW}33929",
    ),
    "A last batch that does not divide": Note(
        "The gradient is the mean of the means of the replicas: of 2 examples and 1 example, the "
        "single one counts twice.",
        "Sums of losses and of weights are added over the replicas, and divided once.",
    ),
    "A replica without examples": Note(
        "33 examples in batches of 16 leave one for the last batch, and none for the second "
        "replica. Its batch statistics are 0 / 0. The loss of the epoch does not show it.",
        "A replica without examples gets one of weight 0, which the statistics leave out.",
        f"{TENSORFLOW}41657",
    ),
    "A first batch that does not divide": Note(
        "The parts of the batch have 2 examples and 1 example, and are added up at some place "
        "where their shapes have to agree.",
        "Each replica is traced in the size of its part.",
    ),
    "Gradient accumulation on replicas": Note(
        "The sum over the replicas is inside of a condition, which MirroredStrategy does not allow "
        "on replicas of a CPU.",
        "The gradients of micro-batches are added on each replica; one sum over the replicas for "
        "each update.",
        "https://github.com/keras-team/tf-keras/issues/301",
    ),
    "Replicas drop the same units": Note(
        "The seed of a layer has the same state in each replica.",
        "The mask depends on the replica too.",
    ),
    "A gradient that overflows on the second replica": Note(
        "Whether all gradients are finite is tested on the first replica, before the sum, so that "
        "the infinite gradient of the second one is applied.",
        "Tests after the sum; all replicas skip the step.",
        "https://github.com/keras-team/keras/pull/18691",
    ),
    "Two models of different size in one process": Note(
        "TensorFlow numbers its collectives in a process; the second model takes the numbers of "
        "the first one with other shapes.",
        "Replicas of one process sum without collectives, so that trainers can coexist.",
        f"{TENSORFLOW}62790",
    ),
    "XLA on replicas": Note(
        "The compiled step reads variables of another device.",
        "The parts before and after the sum are compiled.",
        "https://github.com/keras-team/tf-keras/issues/385",
    ),
    "Gradient accumulation: a schedule counts micro-batches": Note(
        "The schedule gets the number of calls. With 3 micro-batches for an update, a decay over "
        "1,000 steps ends after 333 updates.",
        "Schedules count updates.",
        f"{KERAS}19990",
    ),
    "Gradient accumulation: an average of weights counts micro-batches": Note(
        "The average is updated in each call, also in those that only accumulate.",
        "Averages count updates.",
    ),
    "Gradient accumulation: the last batches are dropped": Note(
        "Gradients that wait for further micro-batches at the end of `fit` are not applied.",
        "A trainer applies them at the end of an epoch; `tl.flush` does so in your own loop.",
    ),
    "After a seed is set, each epoch has the same order": Note(
        "After `keras.utils.set_random_seed`, `fit` shuffles with the same seed in each epoch.",
        "The order depends on (seed, epoch).",
    ),
    "BackupAndRestore: batches are trained twice": Note(
        "With `save_freq` inside of an epoch, the weights are those of the last backup, and the "
        "epoch begins again.",
        "A checkpoint holds the position; a resumed run ends in the same bits.",
    ),
    "BackupAndRestore: EarlyStopping begins to count again": Note(
        "The state of other callbacks is not in the backup.",
        "It is in the checkpoint.",
        f"{KERAS}14862",
    ),
    "ReduceLROnPlateau beside a schedule": Note(
        "A learning rate that is a schedule cannot be set.",
        "The factor of the plateau multiplies the schedule.",
        f"{TENSORFLOW}36612",
    ),
    "ReduceLROnPlateau after a first loss of NaN": Note(
        "The first value is taken as the best, and no number is smaller than NaN.",
        "NaN is never the best.",
    ),
    "ReduceLROnPlateau compares in float32": Note(
        "Losses that differ by less than 6e-8 of their size are equal to the callback.",
        'The same by default, for the same results; `compare_dtype="float64"` compares exactly.',
    ),
    "Weights of examples become weights of columns": Note(
        "Weights [batch] are broadcast along the last axis of the losses [batch, time]. Where the "
        "batch is as large as the number of steps, no shape is wrong.",
        "A weight of an example is the weight of all of its losses.",
    ),
    "Adafactor ignores relative_step": Note(
        "The minimum of the rate and 1 / sqrt(t) is taken in both cases.",
        'The options are `rho_rule="lr"` and "min_rsqrt".',
    ),
    "ScheduleFreeAdamW ignores beta_1": Note(
        "The old value is a reference to the variable, which is read after it has been "
        "overwritten, with the TensorFlow and the PyTorch backend.",
        'The intended rule is `interp="exact"`; "keras_alias" repeats Keras.',
    ),
    "CosineDecayRestarts misses restarts": Note(
        "The number of the cycle is a rounded logarithm; at some boundaries it is one too small, "
        "and the rate is the lowest instead of the highest.",
        "Cycles are counted exactly.",
    ),
    "An integer learning rate": Note(
        "The schedule computes in the type of its first argument: 0.5^0.5 as an integer is 0.",
        "Computes in float64.",
    ),
    "Hyperparameters are rounded to float32": Note(
        "Numbers of Python become float32 before they become float64. 1 - 0.999 then has an error "
        "of 1e-5. `np.float64(0.999)` avoids it.",
        "Numbers are rounded once, to the type that is computed in.",
    ),
    "Adam stands still in bfloat16": Note(
        "0.999 rounds to 1 in bfloat16, so that the correction of the second moment is 0.",
        "Moments and powers are computed in float32 or wider.",
    ),
    "Clipping a norm that overflows": Note(
        "The squares of 1e20 are infinite in float32, and a division by infinity is 0: the step is "
        "lost without a message.",
        "The norm is computed from scaled gradients.",
    ),
    "OrthogonalRegularizer of one row": Note(
        "The mean over no pairs is 0 / 0, which makes the whole loss NaN.",
        "The penalty is 0.",
    ),
    "The loss scale has no upper bound": Note(
        "It doubles while steps are finite, also beyond the largest float32.",
        "At most 2^24, and at least 1.",
    ),
    "The average of the weights ignores constraints": Note(
        "The average is updated before the constraint, from weights that the model never has.",
        "Constraints come first.",
    ),
    "An index without a row": Note(
        "XLA takes the nearest row. Without XLA a CPU raises an error, and a GPU takes zeros.",
        "Refused in arrays; NaN elsewhere.",
        f"{TENSORFLOW}115254",
    ),
    "PyTorch: OneCycleLR rises after its end": Note(
        "The first value is set when the schedule is made, so that as many calls of `step` as "
        "there are steps go one beyond the end.",
        "Holds its last value.",
        "https://github.com/pytorch/pytorch/issues/91765",
    ),
    "PyTorch: clipping a norm that overflows": Note(
        "As in Keras; `error_if_nonfinite=True` raises an error.",
        "The norm is computed from scaled gradients.",
    ),
    "PyTorch: NAdam rounds a product to float32": Note(
        "A product over all steps is a tensor of the default type, whatever the parameters are.",
        "A float64.",
    ),
    "Optax: adadelta(None) climbs": Note(
        "Without a learning rate the sign is not changed.",
        "A learning rate is always given.",
    ),
    "Optax: rprop is one step late": Note(
        "The update that is returned is the one of the step before.",
        'The default is PyTorch\'s form; `convention="optax"` repeats Optax.',
        "https://github.com/google-deepmind/optax/pull/1725",
    ),
    "Optax: adan with another beta than the paper's": Note(
        "The paper's $1 - \\beta_2$ weighs the difference of gradients; in Optax $\\beta_2$ is "
        "already 1 minus the paper's.",
        'The default is the paper\'s; `convention="optax"` repeats Optax.',
    ),
    "Optax: reduce_on_plateau with a patience of 0": Note(
        "The counter has to equal the patience, which 0 does in the epochs that improve.",
        "The rate falls in epochs without improvement.",
    ),
    "Optax: schedules under jit in float32": Note(
        "An int32 count divided by an integer is a float32.",
        "Computes in float64.",
    ),
    "Optax: prodigy at a gradient of 0": Note(
        "The estimate of the distance is 0 / 0.",
        "The estimate stays.",
    ),
}
