"""What is drawn has the distribution of `ImageDataGenerator`'s draws, or the paper's, by a Kolmogorov-Smirnov test."""

from typing import Any

import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from keras_operator.api import Augmentation, RandAugment
from scipy import stats

from model_trainer.augmentation import draw, is_off
from model_trainer.augmentation.rand_augment import NAMES

DRAWS = 4000
HEIGHT, WIDTH = 80, 100
# With these seeds, which are fixed, the test gives the same answer each time.
UNLIKELY = 0.01

ASKED = Augmentation(
    rotation=20,
    width_shift=0.1,
    height_shift=0.2,
    shear=10,
    zoom=0.3,
    channel_shift=30,
    brightness=(0.5, 1.5),
    contrast=0.4,
    horizontal_flip=True,
    vertical_flip=True,
)


@pytest.fixture(scope="module")
def of_keras() -> dict[str, Any]:
    np.random.seed(11)
    generator = ImageDataGenerator(
        rotation_range=20,
        width_shift_range=0.1,
        height_shift_range=0.2,
        shear_range=10,
        zoom_range=0.3,
        channel_shift_range=30,
        brightness_range=(0.5, 1.5),
        horizontal_flip=True,
        vertical_flip=True,
    )
    drawn = [generator.get_random_transform((HEIGHT, WIDTH, 3)) for _ in range(DRAWS)]
    return {name: np.array([one[name] for one in drawn], float) for name in drawn[0]}


@pytest.fixture(scope="module")
def geometry() -> Any:
    from model_trainer.augmentation.geometry import draw_geometry

    return draw_geometry(ASKED, DRAWS, HEIGHT, WIDTH, np.random.default_rng(5))


@pytest.fixture(scope="module")
def drawn() -> Any:
    return draw(ASKED, DRAWS, HEIGHT, WIDTH, np.random.default_rng(5))


def alike(one: Any, other: Any) -> bool:
    return bool(stats.ks_2samp(one, other).pvalue > UNLIKELY)


def test_geometry_is_drawn_as_image_data_generator_draws_it(geometry: Any, of_keras: dict[str, Any]):
    assert alike(np.degrees(geometry.rotation), of_keras["theta"])
    assert alike(np.degrees(geometry.shear), of_keras["shear"])
    assert alike(geometry.zoom_x, of_keras["zx"])
    assert alike(geometry.zoom_y, of_keras["zy"])
    # Keras' tx is a part of the height, and ty of the width.
    assert alike(geometry.shift_y * HEIGHT, of_keras["tx"])
    assert alike(geometry.shift_x * WIDTH, of_keras["ty"])
    assert alike(geometry.flip_x < 0, of_keras["flip_horizontal"])
    assert alike(geometry.flip_y < 0, of_keras["flip_vertical"])


# ImageDataGenerator's integers are whole pixels, its floats are not: what is written here, and there.
PIXELS = {"whole pixels": (9, 9), "one whole pixel either way": (2, 2), "pixels": (7.5, 7.5), "one pixel": (1, 1.0)}


@pytest.mark.parametrize(("written", "meant"), PIXELS.values(), ids=PIXELS)
def test_shifts_in_pixels_are_drawn_as_image_data_generator_draws_them(written: float, meant: float):
    from model_trainer.augmentation.geometry import draw_geometry

    np.random.seed(3)
    generator = ImageDataGenerator(width_shift_range=meant, height_shift_range=meant)
    of_keras = [generator.get_random_transform((HEIGHT, WIDTH, 3)) for _ in range(DRAWS)]
    asked = Augmentation(width_shift=float(written), height_shift=float(written))
    found = draw_geometry(asked, DRAWS, HEIGHT, WIDTH, np.random.default_rng(5))
    across, down = np.round(found.shift_x * WIDTH, 9), np.round(found.shift_y * HEIGHT, 9)
    assert alike(across, [one["ty"] for one in of_keras])
    assert alike(down, [one["tx"] for one in of_keras])
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.05
    if isinstance(meant, int):
        assert set(across) == set(down) == {float(one["tx"]) for one in of_keras} == set(range(1 - meant, meant))


def test_levels_are_drawn_as_image_data_generator_draws_them(drawn: Any, of_keras: dict[str, Any]):
    assert alike(drawn.levels.channel_shift, of_keras["channel_shift_intensity"])
    assert alike(drawn.levels.brightness, of_keras["brightness"])
    assert stats.kstest(drawn.levels.contrast, stats.uniform(0.6, 0.8).cdf).pvalue > UNLIKELY


def test_the_test_tells_a_distribution_from_its_neighbour(geometry: Any, of_keras: dict[str, Any]):
    assert not alike(np.degrees(geometry.rotation) * 1.1, of_keras["theta"])
    assert not alike(1 / geometry.zoom_x, of_keras["zx"])


def test_zoom_range_is_drawn_from_low_to_high():
    from model_trainer.augmentation.geometry import draw_geometry

    zoomed = draw_geometry(Augmentation(zoom_range=(0.5, 2.0)), DRAWS, HEIGHT, WIDTH, np.random.default_rng(1))
    assert stats.kstest(zoomed.zoom_x, stats.uniform(0.5, 1.5).cdf).pvalue > UNLIKELY
    assert abs(np.corrcoef(zoomed.zoom_x, zoomed.zoom_y)[0, 1]) < 0.05


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_s_part_is_drawn_from_beta(alpha: float):
    mixture = draw(Augmentation(mixup=alpha), DRAWS, 8, 8, np.random.default_rng(2)).mixture
    assert stats.kstest(mixture.kept, stats.beta(alpha, alpha).cdf).pvalue > UNLIKELY


def test_cutmix_s_rectangle_has_the_area_that_beta_says_where_it_is_not_cut():
    side = 2000
    patches = draw(Augmentation(cutmix=1.0), DRAWS, side, side, np.random.default_rng(2)).mixture.patches
    top, left, bottom, right = patches.T
    whole = (top > 0) & (left > 0) & (bottom < side) & (right < side)
    parts = ((bottom - top) * (right - left) / side**2)[whole]
    # A rectangle of the part p of the area is whole with the probability (1 - √p)²; p is uniform for alpha 1. Its
    # distribution is therefore 6p - 8 p^1.5 + 3 p².
    assert stats.kstest(parts, lambda p: 6 * p - 8 * p**1.5 + 3 * p**2).pvalue > UNLIKELY


def test_cutout_s_centres_are_anywhere():
    holes = draw(Augmentation(cutout=0.001), DRAWS, 2000, 3000, np.random.default_rng(2)).holes
    assert stats.kstest(holes[:, 0] / 2000, "uniform").pvalue > UNLIKELY
    assert stats.kstest(holes[:, 1] / 3000, "uniform").pvalue > UNLIKELY


def test_rand_augment_draws_every_operation_as_often():
    drawn = draw(Augmentation(rand_augment=RandAugment(layers=3)), DRAWS, 8, 8, np.random.default_rng(2)).operations
    assert drawn.which.shape == drawn.signs.shape == (DRAWS, 3)
    assert stats.chisquare(np.bincount(drawn.which.ravel(), minlength=len(NAMES))).pvalue > UNLIKELY
    assert stats.binomtest(int((drawn.signs > 0).sum()), DRAWS * 3).pvalue > UNLIKELY


def test_partners_are_a_permutation():
    mixture = draw(Augmentation(mixup=1.0), 50, 8, 8, np.random.default_rng(2)).mixture
    assert sorted(mixture.partners) == list(range(50))


def test_off_is_off():
    assert is_off(Augmentation())
    assert not is_off(Augmentation(zoom=0.1))
    assert not is_off(Augmentation(rand_augment=RandAugment()))
