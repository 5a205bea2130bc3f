"""From a trained model of a table to a SavedModel that takes rows as people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from model_trainer.export import (
    CLASSIFY_METHOD,
    CLASSIFY_SIGNATURE,
    EXAMPLES,
    FLOAT_SIGNATURE,
    NAMES,
    OUTPUTS,
    PREDICTION,
    PROBABILITIES,
    REGRESS_METHOD,
    REGRESS_SIGNATURE,
    SCORES,
    name_method,
    write_classes,
    write_out,
)
from model_trainer.tables.columns import Column, Kind


def export_table(
    model: Any, columns: tuple[Column, ...], classes: tuple[str, ...], directory: Path, *, numeric: bool = False
) -> None:
    """Write the SavedModel of `model`, which takes a list of raw columns, to `directory`.

    `serving_default`: an input for each column by its name, float32 or string [batch] (of a column of arrays float32
    [batch, size]) -> `probabilities` float32 [batch, classes]. `serving_classify`: `inputs` string [batch], serialized
    tf.Examples with a feature for each column -> `classes` string and `scores` float32, both [batch, classes].

    Of a `numeric` target: `serving_default` -> `prediction` float32 [batch], and instead of `serving_classify`
    `serving_regress` -> `outputs` float32 [batch].
    """
    arguments = [f"column_{place}" for place in range(len(columns))]
    kinds = [tf.float32 if column.kind is Kind.NUMERIC else tf.string for column in columns]

    def from_columns(cells: dict[str, Any]) -> dict[str, Any]:
        answers = model([cells[name] for name in arguments], training=False)
        return {PREDICTION: answers[:, 0]} if numeric else {PROBABILITIES: answers}

    def from_examples(inputs: Any) -> dict[str, Any]:
        features = {
            column.name: tf.io.FixedLenFeature(column.shape, kind) for column, kind in zip(columns, kinds, strict=True)
        }
        parsed = tf.io.parse_example(inputs, features)
        answers = model([parsed[column.name] for column in columns], training=False)
        if numeric:
            return {OUTPUTS: answers[:, 0]}
        names = tf.broadcast_to(tf.constant(classes)[tf.newaxis], [tf.shape(answers)[0], len(classes)])
        return {NAMES: names, SCORES: answers}

    of_examples = REGRESS_SIGNATURE if numeric else CLASSIFY_SIGNATURE
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = {
        name: tf.TensorSpec([None, *column.shape], kind, name=name)
        for name, column, kind in zip(arguments, columns, kinds, strict=True)
    }
    archive.add_endpoint(FLOAT_SIGNATURE, from_columns, input_signature=[signature])
    archive.add_endpoint(of_examples, from_examples, input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)])
    write_out(archive, directory)
    _name_inputs(directory, {argument: column.name for argument, column in zip(arguments, columns, strict=True)})
    name_method(directory, of_examples, REGRESS_METHOD if numeric else CLASSIFY_METHOD)
    if not numeric:
        write_classes(classes, directory)


def _name_inputs(directory: Path, names: dict[str, str]) -> None:
    """Give the inputs the columns' names, of which TensorFlow itself takes only those that Python would take.

    A name stands where servers look, among the signature's inputs, and where `tf.saved_model.load` does.
    """
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        inputs = graph.signature_def[FLOAT_SIGNATURE].inputs
        named = {
            names[argument]: type(tensor).FromString(tensor.SerializeToString()) for argument, tensor in inputs.items()
        }
        inputs.clear()
        for name, tensor in named.items():
            inputs[name].CopyFrom(tensor)
        for node in graph.object_graph_def.nodes:
            if node.HasField("bare_concrete_function"):
                keywords = node.bare_concrete_function.argument_keywords
                keywords[:] = [names.get(keyword, keyword) for keyword in keywords]
    path.write_bytes(saved.SerializeToString(deterministic=True))
