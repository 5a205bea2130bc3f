"""Texts in words, as Keras' TextVectorization takes them apart by default."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.tables.vocabulary import Words

# Of texts at a time: each word of them is an object for a moment.
_BYTES_AT_ONCE = 4 * 1024 * 1024
# keras/src/layers/preprocessing/text_vectorization.py, `lower_and_strip_punctuation`.
_PUNCTUATION = r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']'


def read_words(texts: npt.NDArray[np.object_], most: int) -> Words:
    """The first `most` words of each of the texts, which are UTF-8 [rows].

    As Keras does it, letters beyond ASCII stay as they are, and what punctuation stood between becomes one word.
    """
    places: dict[bytes, int] = {}
    codes = array("i")
    lengths = np.zeros(len(texts), dtype=np.int64)
    for part in _parts(texts):
        lowered = tf.strings.lower(tf.constant(texts[part], tf.string))
        split = tf.strings.split(tf.strings.regex_replace(lowered, _PUNCTUATION, ""))
        lengths[part] = split.row_lengths().numpy()
        words: list[Any] = split[:, :most].flat_values.numpy().tolist()
        codes.extend(places.setdefault(word, len(places)) for word in words)
    starts = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(np.int64)
    return Words(tuple(places), np.array(codes, dtype=np.int32), starts, lengths)


def _parts(texts: npt.NDArray[np.object_]) -> Iterator[slice]:
    start = size = 0
    for place, text in enumerate(texts):
        size += len(text)
        if size >= _BYTES_AT_ONCE:
            yield slice(start, place + 1)
            start, size = place + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))
