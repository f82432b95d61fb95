"""Chains of steps: dtypes, shapes, ranges, draws and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS, chain
from trainlib.core.random import example_keys

RNG = np.random.default_rng(0)
N = 37
RGB = RNG.integers(0, 256, (N, 10, 9, 3)).astype("uint8")
UNIT = (RGB / 255).astype("float32")
KEY = example_keys(0, 0, tf.range(N))
VALUES = {
    "rotation": 0.1,
    "zoom": 0.2,
    "translation": 0.2,
    "shear": 0.2,
    "crop": 2,
    "contrast": 0.5,
    "brightness": 0.3,
    "saturation": 0.5,
    "noise": 0.1,
    "cutout": 4,
}
"""Values of the steps that need one."""
STEPS = {
    name: make(VALUES[name]) if name in VALUES else make() for name, make in AUGMENTATIONS.items()
}
CHANGING = [name for name, step in STEPS.items() if step.kind != "mixing"]
flip, crop, noise = STEPS["flip"], STEPS["crop"], STEPS["noise"]


def augmented(augmentation, images=RGB, key=KEY):
    x, _ = augmentation.function(tf.constant(images), tf.range(len(images)), key)
    return x.numpy()


@pytest.mark.parametrize("name", CHANGING)
def test_an_image_is_changed_to_the_same_bits_in_any_batch(name):
    for images, augmentation in [
        (RGB, chain(STEPS[name])),
        (UNIT, chain(STEPS[name], value_range=(0, 1))),
    ]:
        whole = augmented(augmentation, images)
        assert whole.dtype == images.dtype and whole.shape == images.shape
        assert np.mean(np.any(whole != images, (1, 2, 3))) > 0.3
        for part in (slice(3, 8), slice(30, 37)):
            found = augmented(augmentation, images[part], KEY[part])
            np.testing.assert_array_equal(found, whole[part])


@pytest.mark.parametrize("name", CHANGING)
def test_integers_are_the_rounded_floats(name):
    floats = augmented(chain(STEPS[name], value_range=(0, 255)), RGB.astype("float32"))
    assert floats.min() >= 0 and floats.max() <= 255
    np.testing.assert_array_equal(augmented(chain(STEPS[name])), np.round(floats))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_images_keep_their_dtype_and_their_shape(dtype):
    steps = [STEPS[name] for name in CHANGING if name != "saturation"]
    augmentation = chain(*steps, value_range=(-1, 1))
    gray = tf.cast(RGB[..., 0] / 127.5 - 1, dtype)
    found = augmentation.function(gray, (), KEY)[0]
    assert found.dtype == gray.dtype and found.shape == gray.shape
    assert np.all(np.isfinite(tf.cast(found, tf.float64)))
    with_channel = augmentation.function(gray[..., tf.newaxis], (), KEY)[0]
    np.testing.assert_array_equal(with_channel[..., 0], found)


def test_the_draws_of_a_step_do_not_depend_on_the_other_steps():
    brightness = STEPS["brightness"]
    alone, with_flips = augmented(chain(brightness)), augmented(chain(flip, brightness))
    np.testing.assert_array_equal(np.sort(alone, 2), np.sort(with_flips, 2))


def test_a_step_that_is_given_twice_is_drawn_twice():
    once, twice = augmented(chain(flip)), augmented(chain(flip, flip))
    both = np.all(twice == RGB, (1, 2, 3))
    assert 0.2 < both.mean() < 0.8 and np.any(once != twice)


def test_geometric_steps_in_a_row_interpolate_once():
    function = tf.function(chain(STEPS["zoom"], STEPS["rotation"], flip).function)
    graph = function.get_concrete_function(tf.TensorSpec([N, 10, 9, 3]), (), KEY).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ImageProjectiveTransformV3") == 1


def test_half_of_the_images_are_flipped():
    flipped = augmented(chain(flip))
    mirrored, same = (np.all(flipped == x, (1, 2, 3)) for x in (RGB[:, :, ::-1], RGB))
    assert np.all(mirrored ^ same) and 0.25 < mirrored.mean() < 0.75


def test_crops_move_images_by_whole_pixels_up_to_the_padding():
    ramp = np.broadcast_to(np.arange(9.0, dtype="f4"), (500, 10, 9))
    found = augmented(chain(crop, fill_mode="wrap"), ramp, example_keys(1, 0, tf.range(500)))
    moved, counts = np.unique(found[:, 5, 4] - 4, return_counts=True)
    assert moved.tolist() == [-2, -1, 0, 1, 2] and counts.min() > 70


def test_fill_value_fills_the_squares_of_cutout():
    found = augmented(chain(STEPS["cutout"], fill_value=7.0), np.full_like(RGB, 99))
    erased = np.sum(found == 7, (1, 2, 3)) // 3
    assert erased.min() >= 4 and erased.max() == 16


@pytest.mark.parametrize(
    ("steps", "options", "images", "message"),
    [
        (
            ["randaugment", "cutout"],
            {"fill_value": 256.0},
            RGB,
            "range of the values, 0 to 255, got 256",
        ),
        (
            ["rotation", "randaugment"],
            {"fill_mode": "constant", "fill_value": -0.5, "value_range": (0, 1)},
            UNIT,
            "range of the values, 0 to 1, got -0.5",
        ),
    ],
)
def test_a_fill_value_outside_the_range_of_the_values_is_refused(steps, options, images, message):
    with pytest.raises(ValueError, match=f"^augment: fill_value must be in the {message}"):
        augmented(chain(*(STEPS[name] for name in steps), **options), images)
    augmented(chain(STEPS["noise"], **options | {"fill_mode": "reflect"}), images)


def mixed(augmentation):
    images, others = (tf.cast(tf.fill([N, 4, 4, 1], x), tf.uint8) for x in (200, 100))
    x, share = augmentation.mix(images, others, KEY)
    return x.numpy(), share.numpy()


def test_mixing_is_the_last_step_wherever_it_is_given():
    augmentation = chain(tl.augmentation.mixup(1.0), flip)
    np.testing.assert_array_equal(augmented(augmentation), augmented(chain(flip)))
    x, share = mixed(augmentation)
    np.testing.assert_array_equal(x[:, 0, 0, 0], np.round(100 + 100 * share))


def test_of_two_mixing_steps_each_image_takes_one():
    x, share = mixed(chain(tl.augmentation.mixup(1.0), tl.augmentation.cutmix()))
    blended = [np.ptp(image) == 0 and 100 < image.max() < 200 for image in x]
    assert 0.2 < np.mean(blended) < 0.8
    np.testing.assert_allclose(np.mean(x, (1, 2, 3)), 100 + 100 * share, atol=0.51)


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        ("flip", np.zeros((2, 5), "f4"), r"augment is for images .* got x of shape \[2, 5\]"),
        ("flip", np.zeros((2, 3, 8, 8), "f4"), r"\[2, 3, 8, 8\] \(are the channels first\?\)"),
        ("saturation", RGB[..., :1], "saturation needs images of 3 channels, got 1: leave it out"),
        ("noise", np.zeros((2, 5, 5), "f4"), "noise needs the range of .* float32 images: give"),
    ],
)
def test_images_that_do_not_suit_are_refused(name, images, message):
    with pytest.raises(ValueError, match=message):
        augmented(chain(STEPS[name]), images, KEY[: len(images)])


def test_several_inputs_are_refused():
    with pytest.raises(ValueError, match="several inputs needs a function"):
        chain(flip).function((tf.zeros([2, 3, 3]), tf.zeros([2, 1])), (), KEY)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: chain(), ValueError, "chain needs a step"),
        (lambda: chain(tl.augmentation.flip), TypeError, r"write flip\(...\)"),
        (lambda: chain("flip"), TypeError, "got 'flip'"),
        (lambda: chain(flip, fill_mode="mirror"), ValueError, "unknown fill_mode 'mirror'"),
        (lambda: chain(flip, value_range=(1, 0)), ValueError, "low below high"),
        (lambda: chain(flip, value_range=1), TypeError, r"value_range must be \(low, high"),
    ],
)
def test_what_is_no_chain_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
