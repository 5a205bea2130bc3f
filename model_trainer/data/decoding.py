"""From a file's bytes to pixels: what Pillow shows is what trains, and the exported signature sees the same.

JPEG and PNG are decoded by the very same TensorFlow operations in training and in the exported signature. They become
RGB as Pillow makes them: palettes, grey and CMYK are expanded, alpha is dropped, EXIF orientation turns a JPEG. Of 16
bits the higher 8 count (Pillow's own conversion makes nearly all of a 16-bit grey image white). Other kinds go through
Pillow on their way into training (`as_png`), because TensorFlow reads some of them differently: a GIF's transparent
pixels, a BMP's palette, a PNG's orientation, and a WebP not at all or, where it moves, into memory that is not its own
(seen with TensorFlow 2.21, heap corruption); of moving pictures the first frame counts. The exported signature decodes
GIF and BMP by TensorFlow, and refuses WebP and a BMP of which it would get the colours wrong.

Images are resized without keeping their proportions, bilinear with an antialiasing filter (what Pillow calls BILINEAR),
turned to grey by ITU-R 601 where that is asked for, and rounded to 8 bits.
"""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image, ImageOps

from model_trainer.data.formats import BadImage, Format, Header, read_header
from model_trainer.data.orientation import orientation_of_jpeg, turned

Pixels = npt.NDArray[np.uint8]

# Rec. ITU-R BT.601-7, 2.5.1; sums to 1, so that an image that is grey already keeps its values.
_LUMA = (0.299, 0.587, 0.114)

CHANNELS = {"rgb": 3, "grayscale": 1}

# Where nothing is called so, a JPEG has no orientation.
_EXIF = b"Exif\0\0"

# A grey BMP's palette: blue, green, red and a byte that is not used, of each shade.
_GREY_PALETTE = b"".join(bytes([shade] * 3 + [0]) for shade in range(256))


def decode(image: Any, height: int, width: int, channels: int) -> Any:
    """Graph operations: a scalar string tensor to a uint8 tensor [height, width, channels].

    The operation fails with InvalidArgumentError for anything that is not a whole JPEG, PNG, GIF or BMP.
    """
    pixels = tf.cond(_begins(image, b"\xff\xd8\xff"), lambda: _jpeg(image), lambda: _other(image))
    return _resized(pixels, height, width, channels)


def _resized(pixels: Any, height: int, width: int, channels: int) -> Any:
    """Levels [any, any, 3] to uint8 [height, width, channels]."""
    pixels.set_shape([None, None, 3])
    # Rounding is part of the contract: training reads cached 8-bit pixels, so serving must round as well.
    resized = tf.image.resize(pixels, [height, width], method="bilinear", antialias=True)
    if channels == 1:
        resized = tf.tensordot(resized, tf.constant(_LUMA, shape=[3, 1]), axes=1)
    return tf.ensure_shape(
        tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8), [height, width, channels]
    )


def _jpeg(image: Any) -> Any:
    return turned(_unturned_jpeg(image), orientation_of_jpeg(image))


def _unturned_jpeg(image: Any) -> Any:
    # Pillow's method, bit for bit; TensorFlow's own is no faster and differs by up to 4.
    return tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE")


def _other(image: Any) -> Any:
    """PNG, GIF and BMP. Nothing else may reach TensorFlow's decoder, which a moving WebP brings down."""
    is_bmp = _begins(image, b"BM")
    known = is_bmp | _begins(image, b"\x89PNG\r\n\x1a\n") | _begins(image, b"GIF8")
    checked = [
        tf.debugging.Assert(known, ["the image is no JPEG, PNG, GIF or BMP"]),
        tf.debugging.Assert(
            ~is_bmp | _has_true_colours(image), ["the image is a BMP with a colour palette; send it as PNG"]
        ),
    ]
    with tf.control_dependencies(checked):
        return tf.io.decode_image(tf.identity(image), channels=3, expand_animations=False)


def _begins(image: Any, start: bytes) -> Any:
    return tf.strings.substr(image, 0, len(start)) == start


def _has_true_colours(image: Any) -> Any:
    """Whether a BMP has no palette, or that of greys: TensorFlow takes 8-bit pixels for shades of grey."""
    padded = tf.strings.join([tf.strings.substr(image, 0, 2048), tf.constant(bytes(2048))])
    palette = 14 + tf.io.decode_raw(tf.strings.substr(padded, 14, 4), tf.int32)[0]
    grey = tf.strings.substr(padded, tf.clip_by_value(palette, 0, 1024), len(_GREY_PALETTE)) == _GREY_PALETTE
    return (tf.strings.substr(padded, 28, 2) != b"\x08\x00") | grey


def rescale(pixels: Any) -> Any:
    """uint8 pixels 0..255 to the float32 0..1 that every model here takes."""
    return tf.cast(pixels, tf.float32) / 255.0


def as_png(data: bytes, header: Header) -> bytes:
    """The image as `decode` reads it alike: itself where it does, else what Pillow shows, as a PNG.

    Raises BadImage for what Pillow cannot read whole.
    """
    if header.format is Format.JPEG or (header.format is Format.PNG and not header.turned):
        return data
    try:
        with Image.open(io.BytesIO(data), formats=[header.format.value]) as image:
            image.load()
            seen = ImageOps.exif_transpose(image)
            if seen.mode.startswith("I;16"):
                seen = Image.fromarray((np.asarray(seen) >> 8).astype(np.uint8))
            shown = io.BytesIO()
            seen.convert("RGB").save(shown, "PNG", compress_level=1)
    # Whatever Pillow's readers meet in a damaged file, among it SyntaxError, struct.error and EOFError.
    except Exception as error:
        raise BadImage(f"a truncated or damaged {header.format}") from error
    return shown.getvalue()


def served_form(data: bytes, pixels: Pixels) -> bytes:
    """The file as a client of the exported signature sends it: itself where that gives `pixels`, else as a PNG."""
    png = as_png(data, read_header(data))
    if png is data:
        return data
    try:
        alike = np.array_equal(decode(tf.constant(data), *pixels.shape).numpy(), pixels)
    except tf.errors.InvalidArgumentError:
        alike = False
    return data if alike else png


class Decoder:
    """Decodes files one at a time; safe to call from many threads, of which a few decode at the same time."""

    def __init__(self, height: int, width: int, channels: int, concurrency: int) -> None:
        self.shape = (height, width, channels)
        # A decoded photo may take 150 MB, so only as many at a time as there are processors to work on them.
        self._slots = threading.Semaphore(concurrency)
        file = [tf.TensorSpec([], tf.string)]
        self._decode = tf.function(lambda image: decode(image, height, width, channels), input_signature=file)
        # Looking for a JPEG's orientation takes a graph longer than all the rest; most files have none to look for.
        self._decode_unturned = tf.function(
            lambda image: _resized(_unturned_jpeg(image), height, width, channels), input_signature=file
        )

    def __call__(self, data: bytes) -> Pixels:
        """Pixels of shape [height, width, channels]. Raises BadImage for anything that is not a whole image."""
        header = read_header(data)
        unturned = header.format is Format.JPEG and _EXIF not in data
        try:
            with self._slots:
                pixels: Pixels = (
                    self._decode_unturned(data) if unturned else self._decode(as_png(data, header))
                ).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise BadImage(f"a truncated or damaged {header.format}") from error
        return pixels
