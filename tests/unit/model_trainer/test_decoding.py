import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model_trainer.data.decoding import Decoder, rescale
from model_trainer.data.formats import BadImage

RGB = Decoder(45, 60, 3, 2)
GREY = Decoder(45, 60, 1, 2)


def test_a_grey_image_at_its_own_size_keeps_every_value():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    assert np.array_equal(Decoder(16, 16, 1, 1)(data.getvalue())[..., 0], pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_bad(encode_image: Any, picture: Any, kind: str, part: float):
    data = encode_image(picture, kind)
    with pytest.raises(BadImage, match="truncated"):
        RGB(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("missing", [1, 2, 10])
def test_even_a_few_missing_bytes_are_noticed(encode_image: Any, picture: Any, kind: str, missing: int):
    with pytest.raises(BadImage, match=f"a truncated or damaged {kind}"):
        RGB(encode_image(picture, kind)[:-missing])


def test_damage_in_the_middle_of_a_png_is_noticed(encode_image: Any, picture: Any):
    data = bytearray(encode_image(picture))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadImage, match="a truncated or damaged PNG"):
        RGB(bytes(data))


def test_rescaling_maps_0_to_255_onto_0_to_1():
    assert np.allclose(rescale(tf.constant([0, 51, 255], tf.uint8)), [0.0, 0.2, 1.0])
