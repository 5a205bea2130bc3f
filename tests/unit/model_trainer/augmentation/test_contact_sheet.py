import io
from typing import Any

import numpy as np
from keras_operator.api import Augmentation, RandAugment
from PIL import Image

from model_trainer.augmentation import contact_sheet
from model_trainer.augmentation.contact_sheet import augmented_samples

ASKED = Augmentation(rotation=30, horizontal_flip=True, mixup=0.3, rand_augment=RandAugment())


def test_a_row_for_each_image_which_comes_first(photos: Any):
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(photos[:3], ASKED, variants=4, gap=2))))
    assert sheet.shape == (3 * 64 + 2 * 2, 5 * 64 + 4 * 2, 3)
    for row in range(3):
        assert np.array_equal(sheet[row * 66 : row * 66 + 64, :64], photos[row])
    assert (sheet[64:66] == 255).all()


def test_variants_differ_and_the_seed_repeats_them(photos: Any):
    samples = augmented_samples(photos, ASKED, variants=3, seed=1)
    assert samples.shape == (6, 4, 64, 64, 3)
    assert np.abs(samples[:, 1].astype(int) - samples[:, 2]).mean() > 5
    assert np.array_equal(samples, augmented_samples(photos, ASKED, variants=3, seed=1))
    assert not np.array_equal(samples, augmented_samples(photos, ASKED, variants=3, seed=2))


def test_grey_images_make_a_grey_sheet(photos: Any):
    sheet = Image.open(io.BytesIO(contact_sheet(photos[:1, :, :, :1], ASKED, variants=1, gap=0)))
    assert (sheet.size, sheet.mode) == ((128, 64), "L")
