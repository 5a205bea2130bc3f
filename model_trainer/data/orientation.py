"""EXIF orientation in graph operations: how a JPEG's pixels must be turned for people to see what the camera saw.

Only the tag is read, as Pillow's `ImageOps.exif_transpose` does: CIPA DC-008-2023 (Exif 3.0), 4.6.4, tag 0x0112 in the
first directory (IFD0) of the TIFF structure that the first APP1 segment with the name "Exif" holds. Whatever is damaged
in it means that nothing is turned.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_ORIENTATION = 0x0112
_LONG = 4
_APP1, _START_OF_SCAN, _END, _FILL = 0xE1, 0xDA, 0xD9, 0xFF
# A directory of a camera has some twenty entries.
_MOST_ENTRIES = 128


def orientation_of_jpeg(image: Any) -> Any:
    """Graph operations: a scalar string tensor, a JPEG, to its orientation, int32 from 1 (as it is) to 8."""
    size = tf.strings.length(image)

    def head(at: Any) -> Any:
        return _numbers(image, at, 4)

    def goes_on(at: Any, found: Any) -> Any:
        here = head(at)
        ends = (here[1] == _START_OF_SCAN) | (here[1] == _END)
        return (found < 0) & (at + 4 <= size) & (here[0] == _FILL) & ~ends

    def step(at: Any, found: Any) -> tuple[Any, Any]:
        here = head(at)
        is_exif = (here[1] == _APP1) & (_text(image, at + 4, 6) == b"Exif\0\0")
        # Any number of fill bytes may stand before a marker.
        length = tf.where(here[1] == _FILL, 1, 2 + here[2] * 256 + here[3])
        return at + length, tf.where(is_exif, at + 10, found)

    _, start = tf.while_loop(goes_on, step, (tf.constant(2), tf.constant(-1)))
    return tf.cond(start < 0, lambda: tf.constant(1), lambda: _orientation_of_tiff(image, start))


def turned(pixels: Any, orientation: Any) -> Any:
    """Pixels [height, width, channels] as they are seen; from 5 on height and width change places."""

    def swapped() -> Any:
        return tf.transpose(pixels, [1, 0, 2])

    ways = [
        lambda: pixels,
        lambda: tf.reverse(pixels, [1]),
        lambda: tf.reverse(pixels, [0, 1]),
        lambda: tf.reverse(pixels, [0]),
        swapped,
        lambda: tf.reverse(swapped(), [1]),
        lambda: tf.reverse(swapped(), [0, 1]),
        lambda: tf.reverse(swapped(), [0]),
    ]
    return tf.switch_case(orientation - 1, ways)


def _orientation_of_tiff(image: Any, start: Any) -> Any:
    """`start` is where the TIFF structure begins, from which its offsets count."""
    header = _numbers(image, start, 8)
    little = header[0] == ord("I")

    def number(digits: Any) -> Any:
        """Unsigned integers of the last axis's bytes."""
        digits = tf.where(little, tf.reverse(digits, [-1]), digits)
        return tf.reduce_sum(digits * tf.constant([1 << 8 * i for i in reversed(range(digits.shape[-1]))]), axis=-1)

    offset = number(header[4:])
    # Above 2 GiB it is negative here, and leads out of the file as it does there.
    directory = tf.where(offset < 0, tf.strings.length(image), start + offset)
    count = tf.minimum(number(_numbers(image, directory, 2)), _MOST_ENTRIES)
    entries = tf.reshape(_numbers(image, directory + 2, 12 * _MOST_ENTRIES), [_MOST_ENTRIES, 12])
    is_it = (number(entries[:, :2]) == _ORIENTATION) & (tf.range(_MOST_ENTRIES) < count)
    long = (number(entries[:, 2:4]) == _LONG) & ~little
    values = tf.where(long, number(entries[:, 10:12]), number(entries[:, 8:10]))
    value = tf.reduce_max(tf.where(is_it, values, 1))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _text(image: Any, at: Any, length: int) -> Any:
    """`length` bytes from `at` on, with zeros where the string has ended."""
    size = tf.strings.length(image)
    found = tf.strings.substr(image, tf.clip_by_value(at, 0, size), length)
    return tf.strings.substr(tf.strings.join([found, tf.constant(bytes(length))]), 0, length)


def _numbers(image: Any, at: Any, length: int) -> Any:
    """The same as int32 [length]."""
    return tf.ensure_shape(tf.cast(tf.io.decode_raw(_text(image, at, length), tf.uint8), tf.int32), [length])
