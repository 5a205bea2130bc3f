"""Small pictures within the page, as data URIs."""

from __future__ import annotations

import base64

import tensorflow as tf

from model_trainer.data.decoding import Pixels

# Pixels of a picture's longer side: sharp enough on a page, and about 5 kB.
LONGEST_SIDE = 128
_JPEG_QUALITY = 85
# What is smaller is drawn, not photographed: a PNG keeps its pixels and is smaller, too.
_SMALL = 48


def data_uri(pixels: Pixels) -> str:
    """The picture of uint8 [height, width, 1 or 3] as `data:image/…;base64,…`, shrunk where it is large."""
    longest = max(pixels.shape[:2])
    if longest <= _SMALL:
        return _uri("png", tf.io.encode_png(pixels).numpy())
    if longest > LONGEST_SIDE:
        size = [max(1, round(side * LONGEST_SIDE / longest)) for side in pixels.shape[:2]]
        resized = tf.image.resize(pixels, size, method="bilinear", antialias=True)
        pixels = tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8).numpy()
    return _uri("jpeg", tf.io.encode_jpeg(pixels, quality=_JPEG_QUALITY).numpy())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
