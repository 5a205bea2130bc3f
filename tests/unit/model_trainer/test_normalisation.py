from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_trainer.normalisation import normalise_at_once

RANDOM = np.random.default_rng(3)


def network(*before: Any, shape: tuple[int, ...] = (4, 5, 3), **arguments: Any) -> tuple[Any, Any]:
    """A layer of batch normalisation with weights of its own behind others, and the network that it is in."""
    inputs = features = keras.Input(shape)
    for layer in before:
        features = layer(features)
    layer = keras.layers.BatchNormalization(**arguments)
    model = keras.Model(inputs, layer(features))
    random = np.random.default_rng(11)
    layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.weights])
    return layer, model


def learned(model: Any, images: Any) -> list[Any]:
    """Everything that a step is made of: answers, gradients of inputs and weights, and what the layers keep then."""
    images = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        answers = model(images, training=True)
        loss = tf.reduce_sum(tf.sin(tf.cast(answers, tf.float32)))
    gradients = tape.gradient(loss, [images, *model.trainable_variables])
    return [answers, *gradients, *model.non_trainable_variables]


def operations(model: Any, training: bool = True) -> set[str]:
    traced = tf.function(lambda images: model(images, training=training)).get_concrete_function(
        tf.TensorSpec(model.input.shape)
    )
    return {operation.type for operation in traced.graph.get_operations()}


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        ({}, RANDOM.normal(3, 2, (6, 4, 5, 3))),
        ({"momentum": 0.8, "epsilon": 0.1}, RANDOM.normal(-1, 0.1, (2, 4, 5, 3))),
        ({"scale": False}, RANDOM.normal(size=(3, 4, 5, 3))),
        ({"center": False, "axis": 3}, RANDOM.normal(size=(3, 4, 5, 3))),
        ({"shape": (1, 1, 3), "epsilon": 0.01}, RANDOM.normal(size=(1, 1, 1, 3))),
    ],
    ids=["defaults", "momentum and epsilon", "without scale", "without center", "one pixel"],
)
def test_a_network_learns_by_one_operation_what_it_learns_by_thirty(arguments: dict[str, Any], images: Any):
    expected = learned(network(**arguments)[1], images)
    _, model = network(**arguments)
    normalise_at_once(model)
    assert "FusedBatchNormV3" in operations(model)
    for found, wanted in zip(learned(model, images), expected, strict=True):
        assert np.allclose(found, wanted, rtol=1e-4, atol=2e-5)


def test_answers_are_those_of_keras():
    _, model = network()
    images = RANDOM.normal(size=(2, 4, 5, 3)).astype(np.float32)
    expected = model(images).numpy()
    normalise_at_once(model)
    assert "FusedBatchNormV3" not in operations(model, training=False)
    assert (model(images).numpy() == expected).all()


def test_a_layer_that_is_frozen_keeps_what_it_came_with():
    layer, model = network()
    normalise_at_once(model)
    layer.trainable = False
    before = [weight.numpy() for weight in layer.weights]
    model(RANDOM.normal(size=(2, 4, 5, 3)), training=True)
    assert "FusedBatchNormV3" not in operations(model)
    assert all((weight.numpy() == was).all() for weight, was in zip(layer.weights, before, strict=True))


def test_layers_within_models_are_found():
    _, inner = network()
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, inner(inputs))
    normalise_at_once(model)
    assert "FusedBatchNormV3" in operations(model)


def test_16_bits_stay_16_bits_and_the_mean_has_32():
    _, model = network(keras.layers.Activation("relu", dtype="bfloat16"), dtype="mixed_bfloat16")
    normalise_at_once(model)
    answers, *_ = learned(model, RANDOM.normal(size=(2, 4, 5, 3)))
    assert answers.dtype == tf.bfloat16
    assert {str(variable.dtype) for variable in model.non_trainable_variables} == {"float32"}


class Own(keras.layers.BatchNormalization):  # type: ignore[misc] # keras has no types
    """Somebody's own normalisation."""


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(renorm=True),
        keras.layers.BatchNormalization(epsilon=1e-6),
        Own(),
    ],
    ids=["another axis", "renorm", "an epsilon too small", "a layer of one's own"],
)
def test_what_is_no_plain_normalisation_of_images_learns_as_keras_has_it(layer: Any):
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, layer(inputs))
    normalise_at_once(model)
    assert "FusedBatchNormV3" not in operations(model)


def test_rows_learn_as_keras_has_it():
    _, model = network(shape=(7,))
    expected = learned(network(shape=(7,))[1], np.ones((3, 7)))
    normalise_at_once(model)
    for found, wanted in zip(learned(model, np.ones((3, 7))), expected, strict=True):
        assert np.allclose(found, wanted)


def test_the_file_holds_keras_own_layers(tmp_path: Any):
    _, model = network()
    normalise_at_once(model)
    images = RANDOM.normal(size=(2, 4, 5, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is keras.layers.BatchNormalization
    assert np.allclose(again(images), model(images))
