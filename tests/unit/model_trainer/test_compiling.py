"""A network is compiled with the loss, the smoothing and the compiler that the YAML asks for."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import Data, Loss, LossParameters, MixedPrecision, Training
from keras_operator.api.losses import OF_CLASS_INDICES, OF_NUMBERS_ALONE, OF_WHOLE_LABELS

from model_trainer.compiling import compile_for, make_metrics
from model_trainer.data.pipeline import encode
from model_trainer.losses import loss_of_each
from model_trainer.precision import answer_in_full, built_for


def compiled(**fields: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    compile_for(Training(data=Data(uri="s3://datasets/dogs"), **fields), model, 10)
    return model


@pytest.mark.parametrize("loss", [Loss.CATEGORICAL_CROSSENTROPY, Loss.CATEGORICAL_FOCAL_CROSSENTROPY])
def test_labels_are_smoothed_before_the_loss(loss: Loss):
    labels, inputs = np.array([[0.0, 1.0, 0.0]], np.float32), np.ones((1, 4), np.float32)
    smooth = labels * 0.7 + 0.3 / 3
    model = compiled(loss=loss, label_smoothing=0.3)
    plain = keras.losses.get(str(loss))(smooth, model.predict(inputs, verbose=0))
    assert model.evaluate(inputs, labels, verbose=0)[0] == pytest.approx(float(np.asarray(plain)[0]), rel=1e-5)


@pytest.mark.parametrize("loss", [Loss.BINARY_CROSSENTROPY, Loss.BINARY_FOCAL_CROSSENTROPY])
def test_labels_of_yes_and_no_are_smoothed_to_a_half(loss: Loss):
    labels, inputs = np.array([[0.0, 1.0, 0.0]], np.float32), np.ones((1, 4), np.float32)
    model = compiled(loss=loss, label_smoothing=0.3)
    plain = keras.losses.get(str(loss))(labels * 0.7 + 0.3 / 2, model.predict(inputs, verbose=0))
    assert model.evaluate(inputs, labels, verbose=0)[0] == pytest.approx(float(np.asarray(plain)[0]), rel=1e-5)


OF_CLASSES = [loss for loss in Loss if loss not in OF_NUMBERS_ALONE]


@pytest.mark.parametrize("policy", [None, MixedPrecision.MIXED_BFLOAT16])
@pytest.mark.parametrize("loss", OF_CLASSES)
def test_each_image_counts_by_the_weight_of_its_class(loss: Loss, policy: MixedPrecision | None):
    inputs, indices = np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32), [0, 1, 2, 0, 1, 2, 0]
    with built_for(policy):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    if policy is not None:
        answer_in_full(model)
    asked = Training(data=Data(uri="s3://datasets/dogs"), loss=loss, mixed_precision=policy)
    compile_for(asked, model, 1)
    labels = np.asarray(encode(indices, 3, loss))
    each = np.asarray(loss_of_each(asked)(labels, model.predict(inputs, verbose=0)))
    assert each.shape == (7,)
    weights = {0: 0.5, 1: 2.0, 2: 4.0}
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(7)
    told = model.fit(batches, class_weight=weights, verbose=0).history["loss"]
    assert told == [pytest.approx(float(np.mean(each * [weights[index] for index in indices])), rel=1e-2)]


@pytest.mark.parametrize("loss", [loss for loss in OF_CLASSES if loss not in OF_CLASS_INDICES])
def test_an_image_of_two_classes_has_its_own_loss_whatever_else_is_in_its_batch(loss: Loss):
    labels = np.array([[1, 0, 0], [0.4, 0.6, 0], [0, 0, 1]], np.float32)
    answers = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]], np.float32)
    measure = loss_of_each(Training(data=Data(uri="s3://datasets/dogs"), loss=loss))
    together = np.asarray(measure(labels, answers))
    alone = np.concatenate([np.asarray(measure(labels[i : i + 1], answers[i : i + 1])) for i in range(3)])
    assert np.allclose(together, alone, atol=1e-6) == (loss not in OF_WHOLE_LABELS)


def test_parameters_of_a_loss_count_in_training_and_evaluation():
    labels, inputs = np.array([[0.0, 1.0, 0.0]], np.float32), np.ones((1, 4), np.float32)
    model = compiled(loss=Loss.CATEGORICAL_FOCAL_CROSSENTROPY, loss_parameters=LossParameters(gamma=3.0, alpha=0.5))
    chance = float(model.predict(inputs, verbose=0)[0, 1])
    # Lin and others, Focal Loss for Dense Object Detection (2017), equation 5.
    focal = -0.5 * (1 - chance) ** 3 * np.log(chance)
    assert model.evaluate(inputs, labels, verbose=0)[0] == pytest.approx(focal, rel=1e-5)
    asked = Training(
        data=Data(uri="s3://datasets/dogs"),
        loss=Loss.CATEGORICAL_FOCAL_CROSSENTROPY,
        loss_parameters=LossParameters(gamma=3.0, alpha=0.5),
        label_smoothing=0.2,
    )
    each = np.asarray(loss_of_each(asked)(labels, model.predict(inputs, verbose=0)))
    assert each == pytest.approx([focal], rel=1e-5), "what is evaluated has its labels as they are"


@pytest.mark.parametrize("wanted", [True, False])
def test_steps_are_compiled_where_that_is_asked_for(wanted: bool):
    model = compiled(jit_compile=wanted)
    assert model.jit_compile is wanted
    model.fit(np.ones((2, 4)), np.eye(3)[:2], verbose=0)


def test_words_that_come_twice_in_a_batch_are_learned_as_one_hot_codes_are():
    words = np.array([[1, 1, 2], [1, 0, 1], [2, 1, 1]])
    labels = np.eye(3, dtype=np.float32)
    vectors = keras.layers.Embedding(4, 3)
    by_words = keras.Sequential([keras.Input((3,)), vectors, keras.layers.GlobalAveragePooling1D()])
    weights = keras.layers.Dense(3, use_bias=False)
    by_codes = keras.Sequential([keras.Input((3, 4)), weights, keras.layers.GlobalAveragePooling1D()])
    weights.set_weights(vectors.get_weights())
    for model, inputs in ((by_words, words), (by_codes, np.eye(4, dtype=np.float32)[words])):
        compile_for(Training(data=Data(uri="s3://datasets/dogs"), loss=Loss.MEAN_SQUARED_ERROR), model, 10)
        for _ in range(3):
            model.train_on_batch(inputs, labels)
    np.testing.assert_allclose(vectors.get_weights()[0], weights.get_weights()[0], atol=1e-6)


class Counting(keras.layers.Layer):  # type: ignore[misc] # keras has no types
    """Gives what it takes, and counts how often it is traced."""

    traced = 0

    def call(self, inputs: Any) -> Any:
        self.traced += 1
        return inputs


@pytest.mark.parametrize("loss", [Loss.CATEGORICAL_CROSSENTROPY, Loss.SPARSE_CATEGORICAL_CROSSENTROPY])
def test_a_step_is_traced_once_and_measures_what_keras_measures(loss: Loss):
    inputs, indices = np.random.default_rng(5).normal(size=(20, 4)), np.arange(20) % 3
    labels = indices if loss is Loss.SPARSE_CATEGORICAL_CROSSENTROPY else np.eye(3)[indices]
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(8)
    histories, traced = [], []
    for early in (False, True):
        keras.utils.set_random_seed(3)
        counting = Counting()
        model = keras.Sequential([keras.Input((4,)), counting, keras.layers.Dense(3, activation="softmax")])
        compile_for(Training(data=Data(uri="s3://datasets/dogs"), loss=loss), model, 3)
        model.optimizer.build(model.trainable_variables)
        if early:
            make_metrics(model, batches.element_spec[1])
        before = counting.traced
        histories.append(model.fit(batches, epochs=2, shuffle=False, verbose=0).history)
        traced.append(counting.traced - before)
    assert traced == [2, 1]
    assert histories[0] == histories[1]


def test_a_network_that_says_nothing_of_its_answers_makes_its_metrics_as_ever():
    class Own(keras.Model):  # type: ignore[misc] # keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3, activation="softmax")

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Own()
    model.build((None, 4))
    compile_for(Training(data=Data(uri="s3://datasets/dogs")), model, 3)
    make_metrics(model, tf.TensorSpec((None, 3)))
    assert "accuracy" in model.fit(np.ones((2, 4)), np.eye(3)[:2], verbose=0).history
