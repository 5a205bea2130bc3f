"""What a network is trained by: optimizer, loss and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import msgspec
import tensorflow as tf
from keras_operator.api import Loss, Training

from model_trainer.losses import loss_of
from model_trainer.measures import measures_of
from model_trainer.optimizer import optimizer_of
from model_trainer.tables.target import Target

_OF_YES_AND_NO = frozenset({Loss.BINARY_CROSSENTROPY, Loss.BINARY_FOCAL_CROSSENTROPY})


def compile_for(
    training: Training, model: Any, steps: int, learning_rate: float | None = None, target: Target | None = None
) -> None:
    """Compile `model` for epochs of so many steps, by another learning rate than the optimizer's where one is given.

    `target` is the number that is learned; None: classes are.
    """
    optimizer = training.optimizer
    if learning_rate is not None:
        optimizer = msgspec.structs.replace(optimizer, learning_rate=learning_rate)
    of_number = [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    model.compile(
        optimizer=optimizer_of(optimizer, steps),
        loss=loss_of(training, target),
        metrics=[*(["accuracy"] if target is None else of_number), *measures_of(training.metrics, target)],
        # XLA cannot wait for other workers in the middle of what it compiled.
        jit_compile=False if training.workers > 1 else "auto" if training.jit_compile is None else training.jit_compile,
    )
    _add_up_gradients(model.optimizer)
    if target is None and training.objective in _OF_YES_AND_NO:
        _lose_by_probabilities(model)


def _lose_by_probabilities(model: Any) -> None:
    """Let the loss see the probabilities that the network answers, and nothing of what they were made from.

    Keras (3.15) finds what softmax was given, and the binary losses take that for what a sigmoid would be given:
    another network would be trained than the one that is evaluated and served.
    """
    own = type(model).compute_loss

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        answers = tf.nest.map_structure(tf.identity, y_pred)
        return own(model, x=x, y=y, y_pred=answers, sample_weight=sample_weight, training=training)

    model.compute_loss = compute_loss


def make_metrics(model: Any, labels: Any) -> None:
    """Let a compiled network have the variables of its metrics before its first step; `labels`: a tf.TensorSpec.

    Keras makes them while it traces that step, and TensorFlow traces a function that makes variables twice.
    """
    metrics = model._compile_metrics
    answers: Sequence[Any] = getattr(model, "outputs", ())
    if metrics is not None and not metrics.built and len(answers) == 1:
        metrics.build(keras.KerasTensor(labels.shape, labels.dtype.name), answers[0])


def _add_up_gradients(optimizer: Any) -> None:
    """Let the optimizer see one gradient of each variable.

    That of an Embedding has an entry for each time that a word is in the batch, and Keras (3.15) squares those before
    it adds them up: it would learn otherwise than a dense layer of one-hot codes, and than several workers together.
    """
    own_apply = optimizer.apply

    def apply(gradients: Sequence[Any], trainable_variables: Any = None) -> None:
        whole = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
        own_apply(whole, trainable_variables)

    optimizer.apply = apply
