from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.api import Augmentation

from model_trainer.augmentation import Geometry, draw, is_off, transforms, warp


def geometry(**changes: float) -> Geometry:
    still = {"rotation": 0, "shear": 0, "zoom_x": 1, "zoom_y": 1, "shift_x": 0, "shift_y": 0, "flip_x": 1, "flip_y": 1}
    return Geometry(**{name: np.array([float(value)]) for name, value in {**still, **changes}.items()})


def warped(images: Any, **changes: float) -> Any:
    height, width = images.shape[:2]
    return warp(images[None].astype(np.float32), transforms(geometry(**changes), height, width)).numpy()[0]


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(7).uniform(size=(9, 12, 2)).astype(np.float32)


def test_nothing_asked_for_changes_nothing(image: Any):
    assert np.allclose(warped(image), image, atol=1e-6)


def test_flips_are_exact(image: Any):
    assert np.allclose(warped(image, flip_x=-1), image[:, ::-1], atol=1e-6)
    assert np.allclose(warped(image, flip_y=-1), image[::-1], atol=1e-6)


def test_a_shift_moves_right_and_down_and_repeats_the_edge(image: Any):
    right = warped(image, shift_x=3 / 12)
    assert np.allclose(right[:, 3:], image[:, :-3], atol=1e-5)
    assert np.allclose(right[:, :3], image[:, :1], atol=1e-5)
    down = warped(image, shift_y=2 / 9)
    assert np.allclose(down[2:], image[:-2], atol=1e-5)
    assert np.allclose(down[:2], image[:1], atol=1e-5)


def test_a_quarter_turn_is_counter_clockwise():
    square = np.random.default_rng(8).uniform(size=(8, 8, 1)).astype(np.float32)
    assert np.allclose(warped(square, rotation=np.pi / 2), np.rot90(square), atol=1e-5)


def test_zoom_of_two_shows_the_middle_twice_as_large():
    line = np.zeros((16, 16, 1), np.float32)
    line[:, 6:10] = 1
    assert warped(line).sum() * 2 == pytest.approx(warped(line, zoom_x=2).sum(), rel=0.01)
    assert warped(line, zoom_y=2).sum() == pytest.approx(warped(line).sum(), rel=0.01)


def test_shear_moves_rows_against_each_other_and_keeps_the_middle_one():
    bar = np.zeros((21, 21, 1), np.float32)
    bar[:, 10] = 1
    sheared = warped(bar, shear=np.radians(30))[..., 0].argmax(axis=1)
    assert sheared[10] == 10
    assert np.ptp(sheared) >= 8
    assert all(np.diff(sheared) >= 0) or all(np.diff(sheared) <= 0)


@given(
    st.integers(2, 30),
    st.integers(2, 30),
    st.floats(-np.pi, np.pi),
    st.floats(-1, 1),
    st.floats(0.2, 1.8),
    st.sampled_from([-1.0, 1.0]),
)
def test_the_centre_stays_where_it_is_unless_shifted(
    height: int, width: int, rotation: float, shear: float, zoom: float, flip: float
):
    matrix = transforms(geometry(rotation=rotation, shear=shear, zoom_x=zoom, flip_x=flip), height, width)[0]
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    assert np.allclose(matrix[:6].reshape(2, 3) @ centre, centre[:2], atol=1e-3)
    assert list(matrix[6:]) == [0, 0]


def test_what_is_drawn_fills_its_range_and_no_more():
    asked = Augmentation(
        rotation=20, width_shift=0.1, height_shift=0.2, shear=10, zoom=0.3, horizontal_flip=True, vertical_flip=False
    )
    drawn = draw(asked, 4000, np.random.default_rng(0))
    for values, low, high in (
        (np.degrees(drawn.rotation), -20, 20),
        (np.degrees(drawn.shear), -10, 10),
        (drawn.shift_x, -0.1, 0.1),
        (drawn.shift_y, -0.2, 0.2),
        (drawn.zoom_x, 0.7, 1.3),
        (drawn.zoom_y, 0.7, 1.3),
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert abs(drawn.flip_x.mean()) < 0.1
    assert set(drawn.flip_y) == {1.0}


def test_off_is_off():
    assert is_off(Augmentation())
    assert not is_off(Augmentation(zoom=0.1))
