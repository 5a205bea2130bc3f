from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_operator.api import Augmentation

from model_trainer.augmentation import augment, draw
from model_trainer.augmentation.cutout import cut_out, draw_holes
from model_trainer.augmentation.mixing import Mixture, draw_mixture, mix
from model_trainer.augmentation.rectangles import none

MIXUP, CUTMIX = Augmentation(mixup=0.4), Augmentation(cutmix=1.0)
LABELS = np.eye(6, dtype=np.float32)


def test_mixup_is_its_papers_formula(photos: Any):
    partners = np.array([3, 4, 5, 0, 1, 2], np.int32)
    weights = np.linspace(0, 1, 6, dtype=np.float32)
    images = photos.astype(np.float32)
    mixed, labels = mix(images, LABELS, Mixture(partners, weights, none(6), weights), MIXUP)
    for index, weight in enumerate(weights):
        other = partners[index]
        assert np.allclose(mixed[index], weight * images[index] + (1 - weight) * images[other], atol=1e-3)
        assert np.allclose(labels[index], weight * LABELS[index] + (1 - weight) * LABELS[other], atol=1e-6)


def test_cutmix_takes_a_rectangle_of_the_other_image_and_its_share_of_the_label(photos: Any):
    images = photos.astype(np.float32)
    mixture = draw_mixture(CUTMIX, 6, 64, 64, np.random.default_rng(3))
    mixed, labels = (tensor.numpy() for tensor in mix(images, LABELS, mixture, CUTMIX))
    for index, (top, left, bottom, right) in enumerate(mixture.patches):
        wanted = images[index].copy()
        wanted[top:bottom, left:right] = images[mixture.partners[index]][top:bottom, left:right]
        assert np.array_equal(mixed[index], wanted)
        kept = 1 - (bottom - top) * (right - left) / 64**2
        label = kept * LABELS[index] + (1 - kept) * LABELS[mixture.partners[index]]
        assert np.allclose(labels[index], label, atol=1e-6)


def test_cutout_blackens_a_rectangle_and_nothing_else(photos: Any):
    holes = draw_holes(Augmentation(cutout=0.25), 6, 64, 64, np.random.default_rng(3))
    images = photos.astype(np.float32) + 1
    cut = cut_out(np.asarray(images), holes).numpy()
    for index, (top, left, bottom, right) in enumerate(holes):
        assert 8 <= bottom - top <= 16
        assert 8 <= right - left <= 16
        assert (cut[index] == 0).sum() == (bottom - top) * (right - left) * 3
        assert not cut[index, top:bottom, left:right].any()


def test_with_both_each_image_gets_one_of_them():
    both = Augmentation(mixup=1.0, cutmix=1.0)
    mixture = draw_mixture(both, 4000, 64, 64, np.random.default_rng(0))
    blended, patched = mixture.blend < 1, mixture.patches.any(axis=1)
    assert not (blended & patched).any()
    assert 0.46 < blended.mean() < 0.54
    assert np.allclose(mixture.kept[blended], mixture.blend[blended])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([MIXUP, CUTMIX, Augmentation(mixup=1.0, cutmix=0.5, cutout=0.3)]), st.integers(1, 7), st.integers()
)
def test_labels_stay_a_distribution_and_pixels_stay_in_range(asked: Augmentation, count: int, seed: int):
    random = np.random.default_rng(abs(seed))
    pixels = random.integers(0, 256, (count, 8, 10, 1)).astype(np.uint8)
    labels = np.eye(3, dtype=np.float32)[random.integers(0, 3, count)]
    images, mixed = augment(pixels, labels, draw(asked, count, 8, 10, random), asked)
    assert np.allclose(mixed.numpy().sum(axis=1), 1, atol=1e-5)
    assert images.numpy().min() >= 0
    assert images.numpy().max() <= 1 + 1e-6
