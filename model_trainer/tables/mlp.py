"""The network of tables: dense layers, and around them what makes raw cells of a served row into their inputs."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras_operator.api import OF_POSITIVE_ANSWERS, Architecture, Loss

from model_trainer.tables.columns import Kind
from model_trainer.tables.encoding import Encoding
from model_trainer.tables.table import Table
from model_trainer.tables.target import Target

NUMBERS = "numbers"
IDS = "ids"

_HIDDEN_UNITS = (64, 64)
# A weight's logarithm where there is no word: e to the power of it is no number but 0 in any float.
_NO_WORD = -1e9
# log(1 + e to the power of it) is 1: a unit that says 0 answers the mean.
_SOFTPLUS_IS_ONE = math.log(math.e - 1)


def text_input(place: int) -> str:
    """The input of a text column, by its place among them."""
    return f"text_{place}"


def build_mlp(
    architecture: Architecture,
    encoding: Encoding,
    classes: int,
    target: Target | None = None,
    loss: Loss | None = None,
) -> Any:
    """What is trained: `numbers` float32 [batch, numbers] and `ids` int32 [batch, categorical] -> probabilities.

    Numbers are brought to mean 0 and variance 1. Each word has a vector, as long as the first layer is wide, and those
    of a row are added up: what a dense layer makes of one-hot codes, without multiplying their zeros. Texts are
    `text_0`, `text_1` … int32 [batch, words], padded with 0; their words have such vectors, too, and the network sees
    the mean of them.

    Where there is a `target`, the answer is that, float32 [batch, 1]: from one linear unit, which learns it at mean 0
    and variance 1. Where `loss` has a logarithm of the answer, no answer is below 0.
    """
    outputs = classes if target is None else 1
    units = _HIDDEN_UNITS if architecture.hidden_units is None else architecture.hidden_units
    inputs: dict[str, Any] = {}
    parts = []
    if encoding.means:
        inputs[NUMBERS] = keras.Input((len(encoding.means),), name=NUMBERS)
        # Whatever the network computes in: incomes are too large for 16 bits.
        normal = keras.layers.Normalization(
            mean=list(encoding.means), variance=list(encoding.variances), dtype="float32"
        )
        parts.append(normal(inputs[NUMBERS]))
    if encoding.vocabularies:
        columns = len(encoding.vocabularies)
        inputs[IDS] = keras.Input((columns,), dtype="int32", name=IDS)
        vectors = keras.layers.Embedding(encoding.size, [*units, outputs][0], name="words")(inputs[IDS])
        # The mean times their number is the sum, in layers that also the .h5 format knows.
        parts.append(keras.layers.Rescaling(float(columns))(keras.layers.GlobalAveragePooling1D()(vectors)))
    for place, vocabulary in enumerate(encoding.texts):
        inputs[text_input(place)] = keras.Input((None,), dtype="int32", name=text_input(place))
        vectors = keras.layers.Embedding(vocabulary.size, [*units, outputs][0], name=f"words_of_{text_input(place)}")
        parts.append(_mean_of_words(inputs[text_input(place)], vectors))
    features = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for place, count in enumerate(units, 1):
        features = keras.layers.Dense(count, activation="relu", name=f"hidden_{place}")(features)
        if architecture.dropout:
            features = keras.layers.Dropout(architecture.dropout)(features)
    return keras.Model(inputs, _answers(features, outputs, target, loss), name="MLP")


def _mean_of_words(numbers: Any, vectors: Any) -> Any:
    """The mean of the words' vectors, float32 [batch, units], without padding.

    A text without a word is all padding, and its mean the vector of padding, which only such texts train: nothing is
    something that can be learned from. Keras' masks would divide by 0 there, and the .h5 format does not know them.
    """
    layers = keras.layers
    # Whatever the network computes in: 16 bits do not count to 257.
    number = layers.Rescaling(1.0, dtype="float32")(numbers)
    is_word = layers.ReLU(max_value=1.0, dtype="float32")(number)
    logarithm = layers.Rescaling(-_NO_WORD, offset=_NO_WORD, dtype="float32")(is_word)
    weights = layers.Softmax(dtype="float32")(logarithm)
    return layers.Dot(axes=1, dtype="float32")([weights, vectors(numbers)])


def _answers(features: Any, outputs: int, target: Target | None, loss: Loss | None) -> Any:
    if target is None:
        return keras.layers.Dense(outputs, activation="softmax", name="probabilities")(features)
    # Whatever the network computes in, as above: three digits are too few for an answer.
    standard = keras.layers.Dense(outputs, name="standardised", dtype="float32")(features)
    if loss in OF_POSITIVE_ANSWERS:
        at_zero = keras.layers.Rescaling(1.0, offset=_SOFTPLUS_IS_ONE, dtype="float32")(standard)
        positive = keras.layers.Activation("softplus", name="positive", dtype="float32")(at_zero)
        return keras.layers.Rescaling(target.mean, name="number", dtype="float32")(positive)
    return keras.layers.Rescaling(target.deviation, offset=target.mean, name="number", dtype="float32")(standard)


def with_raw_columns(model: Any, table: Table) -> Any:
    """What is kept and served: a keras.Model from a list of raw columns [batch], float32 or string, to the same.

    The columns are in the table's order. A word that training never saw has a number of its own. Of a column of arrays
    the raw column is float32 [batch, size]. A text is any bytes; what is not UTF-8 in it makes words that nobody knows.
    """
    # The same layers without what they were compiled for: a file that names a loss of ours could be read by us alone.
    plain = keras.Model(model.input, model.output, name=model.name)
    encoding = table.encoding
    inputs: list[Any] = []
    numbers: list[Any] = []
    ids: list[Any] = []
    texts: dict[str, Any] = {}
    for place, column in enumerate(table.columns):
        if column.kind is Kind.NUMERIC:
            inputs.append(keras.Input(column.shape, dtype="float32", name=f"column_{place}"))
            numbers.append(inputs[-1] if column.size is not None else keras.layers.Reshape((1,))(inputs[-1]))
            continue
        inputs.append(keras.Input((), dtype="string", name=f"column_{place}"))
        if column.kind is Kind.TEXT:
            vocabulary = encoding.texts[len(texts)]
            texts[text_input(len(texts))] = keras.layers.TextVectorization(
                vocabulary=list(vocabulary.words), output_sequence_length=vocabulary.length
            )(inputs[-1])
            continue
        lookup = keras.layers.StringLookup(
            vocabulary=list(encoding.vocabularies[len(ids)]), mask_token=None, num_oov_indices=1
        )
        # float32 is exact up to 16 million, and there are at most 10,000 words a column.
        number = keras.layers.Rescaling(1.0, offset=float(encoding.offsets[len(ids)]))(lookup(inputs[-1]))
        ids.append(keras.layers.Reshape((1,))(number))
    joined = {
        name: keras.layers.Concatenate()(columns) if len(columns) > 1 else columns[0]
        for name, columns in ((NUMBERS, numbers), (IDS, ids))
        if columns
    }
    return keras.Model(inputs, plain(joined | texts), name="MLP_with_raw_columns")
