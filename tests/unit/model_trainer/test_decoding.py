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


def pillow(data: bytes, mode: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode).resize((60, 45), Image.Resampling.BILINEAR))


FILES: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("PNG", {"mode": "L"}),
    ("PNG", {"mode": "P"}),
    ("PNG", {"mode": "1"}),
    ("JPEG", {}),
    ("JPEG", {"mode": "L"}),
    ("JPEG", {"progressive": True}),
    ("BMP", {}),
    ("BMP", {"mode": "L"}),
    ("GIF", {}),
]


@pytest.mark.parametrize(("kind", "options"), FILES, ids=str)
def test_every_format_is_decoded_and_resized_as_pillow_does(
    encode_image: Any, picture: Any, kind: str, options: dict[str, Any]
):
    data = encode_image(picture, kind, **options)
    for decoder, mode, shape in ((RGB, "RGB", (45, 60, 3)), (GREY, "L", (45, 60, 1))):
        pixels = decoder(data)
        assert pixels.shape == shape
        assert pixels.dtype == np.uint8
        # JPEG decoders differ by a step or two; everything else by rounding.
        assert np.abs(pixels.astype(int) - pillow(data, mode).reshape(shape)).max() <= (4 if kind == "JPEG" else 2)


def test_alpha_is_dropped_and_16_bits_become_8(encode_image: Any, picture: Any):
    assert np.array_equal(RGB(encode_image(picture, "PNG", mode="RGBA")), RGB(encode_image(picture, "PNG")))
    deep = encode_image(picture[..., 0].astype(np.uint16) * 257)
    assert np.array_equal(RGB(deep), RGB(encode_image(picture[..., 0])))


def test_a_cmyk_jpeg_is_decoded(encode_image: Any, picture: Any):
    assert RGB(encode_image(picture, "JPEG", mode="CMYK")).shape == (45, 60, 3)
    assert GREY(encode_image(picture, "JPEG", mode="CMYK")).shape == (45, 60, 1)


def test_the_first_frame_of_an_animation_counts(encode_image: Any, picture: Any):
    frames = [Image.fromarray(255 - picture), Image.fromarray(picture // 2)]
    moving = encode_image(picture, "GIF", save_all=True, append_images=frames)
    assert np.abs(RGB(moving).astype(int) - RGB(encode_image(picture, "GIF"))).max() <= 2


def test_a_grey_image_at_its_own_size_keeps_every_value():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    assert np.array_equal(Decoder(16, 16, 1, 1)(data.getvalue())[..., 0], pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
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
