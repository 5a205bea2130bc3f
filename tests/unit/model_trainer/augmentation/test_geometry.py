from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from keras_operator.api import Augmentation, FillMode

from model_trainer.augmentation.geometry import Geometry, draw_geometry, still, transforms, warp

# Mean absolute difference, of 255 levels.
CLOSE = 1.0


def geometry(**changes: float) -> Geometry:
    return still(1)._replace(**{name: np.array([float(value)]) for name, value in changes.items()})


def warped(images: Any, fill_mode: FillMode = FillMode.NEAREST, fill_value: float = 0.0, /, **changes: float) -> Any:
    height, width = images.shape[:2]
    matrices = transforms(geometry(**changes), height, width)
    return warp(images[None].astype(np.float32), matrices, fill_mode, fill_value).numpy()[0]


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


def test_beyond_the_edge_is_what_the_fill_mode_says(image: Any):
    def right(mode: FillMode) -> Any:
        return warped(image, mode, 0.7, shift_x=3 / 12)[:, :3]

    assert np.allclose(right(FillMode.CONSTANT), 0.7, atol=1e-5)
    assert np.allclose(right(FillMode.REFLECT), image[:, 2::-1], atol=1e-5)
    assert np.allclose(right(FillMode.WRAP), image[:, -3:], atol=1e-5)


def test_a_quarter_turn_is_counter_clockwise():
    square = np.random.default_rng(8).uniform(size=(8, 8, 1)).astype(np.float32)
    assert np.allclose(warped(square, rotation=np.pi / 2), np.rot90(square), atol=1e-5)


def test_half_of_the_picture_is_seen_twice_as_large():
    line = np.zeros((16, 16, 1), np.float32)
    line[:, 6:10] = 1
    assert warped(line).sum() * 2 == pytest.approx(warped(line, zoom_x=0.5).sum(), rel=0.01)
    assert warped(line, zoom_y=0.5).sum() == pytest.approx(warped(line).sum(), rel=0.01)


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
    assert np.allclose(matrix.reshape(2, 3) @ centre, centre[:2], atol=1e-3)


@pytest.mark.parametrize("mode", [FillMode.NEAREST, FillMode.CONSTANT])
def test_a_batch_is_what_tensorflow_s_own_operation_makes_of_it(photos: Any, mode: FillMode):
    random = np.random.default_rng(1)
    asked = Augmentation(rotation=40, width_shift=0.2, height_shift=0.3, shear=15, zoom=0.4, vertical_flip=True)
    matrices = transforms(draw_geometry(asked, len(photos), 64, 64, random), 64, 64)
    wanted = tf.raw_ops.ImageProjectiveTransformV3(
        images=photos.astype(np.float32),
        transforms=np.pad(matrices, [(0, 0), (0, 2)]),
        output_shape=[64, 64],
        fill_value=90.0,
        interpolation="BILINEAR",
        fill_mode=mode.upper(),
    )
    compiled = tf.function(warp, autograph=False, jit_compile=True)
    for images in (photos, photos.astype(np.float32)):
        assert np.allclose(compiled(images, matrices, mode, 90.0), wanted, atol=0.01)


SIDE = 96
# ImageDataGenerator's parameters, and the same in words of this project. In Keras, tx moves along x.
SAME = {
    "rotation to the left": ({"theta": 20}, {"rotation": np.radians(20)}),
    "rotation to the right": ({"theta": -35}, {"rotation": np.radians(-35)}),
    "shift sideways": ({"tx": 9.5}, {"shift_x": -9.5 / SIDE}),
    "shift up or down": ({"ty": -7.25}, {"shift_y": 7.25 / SIDE}),
    "shear": ({"shear": 17}, {"shear": np.radians(17)}),
    "zoom": ({"zx": 0.8, "zy": 1.15}, {"zoom_x": 0.8, "zoom_y": 1.15}),
    "horizontal flip": ({"flip_horizontal": True}, {"flip_x": -1}),
    "vertical flip": ({"flip_vertical": True}, {"flip_y": -1}),
    "everything": (
        {"theta": 15, "tx": 6, "ty": -4, "shear": -12, "zx": 1.1, "zy": 0.9, "flip_horizontal": True},
        {
            "rotation": np.radians(15),
            "shift_x": -6 / SIDE,
            "shift_y": 4 / SIDE,
            "shear": np.radians(-12),
            "zoom_x": 1.1,
            "zoom_y": 0.9,
            "flip_x": -1,
        },
    ),
}


@pytest.mark.parametrize("mode", FillMode)
@pytest.mark.parametrize(("of_keras", "of_this"), SAME.values(), ids=SAME)
def test_pictures_are_those_of_image_data_generator(photo: Any, of_keras: Any, of_this: Any, mode: FillMode):
    generator = ImageDataGenerator(fill_mode=mode.value, cval=100.0)
    wanted = generator.apply_transform(photo.astype(np.float32), of_keras)
    found = warped(photo, mode, 100.0, **of_this)
    changed = np.abs(wanted - photo).mean()
    assert changed > 2 * CLOSE, "the change is large enough to be missed"
    # The whole picture where both fill alike, else what is not near an edge.
    part = slice(0, SIDE) if mode in {FillMode.NEAREST, FillMode.REFLECT} else slice(SIDE // 4, -SIDE // 4)
    assert np.abs(wanted - found)[part, part].mean() < CLOSE
