"""The phases of a fine-tuning: the head alone, then what it stands on, by an optimizer of its own.

Which phase a training is in follows from the epochs that are done, so a pod that goes on with it needs to know nothing
more. The second phase begins before the last epoch of the first one is kept: a checkpoint after `headEpochs` epochs
holds the fresh optimizer of the second.
"""

from __future__ import annotations

import logging
from typing import Any

import keras
from keras_operator.api import Training

from model_trainer.compiling import compile_for
from model_trainer.pretrained import freeze_all_but, leaves
from model_trainer.tables.target import Target

log = logging.getLogger(__name__)

HEAD = "head"
FINE_TUNING = "fine-tuning"


class Phases:
    """Compiles a network for the phase that it is in; without `fineTuning` there is one phase without a name."""

    def __init__(self, training: Training, model: Any, steps: int, target: Target | None = None) -> None:
        self._training = training
        self._model = model
        self._steps = steps
        self._target = target
        self._learned = [(layer, layer.trainable) for layer in leaves(model)]
        self.name = ""

    def begin(self, epoch: int) -> None:
        """Compile for the phase in which `epoch` epochs are done."""
        wanted = self._training.fine_tuning
        rate = None
        if wanted is not None and epoch < wanted.head_epochs:
            self.name = HEAD
            self._let_head_learn()
        elif wanted is not None:
            self.name = FINE_TUNING
            self._let_all_learn()
            rate = wanted.learning_rate
        compile_for(self._training, self._model, self._steps, rate, self._target)
        self._model.optimizer.build(self._model.trainable_variables)

    def begins_after(self, epoch: int) -> bool:
        """Whether another phase begins where `epoch` epochs are done."""
        return self._training.fine_tuning is not None and epoch == self._training.fine_tuning.head_epochs

    @property
    def rate(self) -> tuple[str, float]:
        """The field that says the learning rate of this phase, and what it says."""
        wanted = self._training.fine_tuning
        if wanted is not None and self.name == FINE_TUNING:
            return "spec.training.fineTuning.learningRate", wanted.learning_rate
        return "spec.training.optimizer.learningRate", self._training.optimizer.learning_rate

    def _let_head_learn(self) -> None:
        log.info("phase %s: %s", self.name, freeze_all_but(1, self._model), extra={"phase": self.name})

    def _let_all_learn(self) -> None:
        for layer, learned in self._learned:
            # What it has counted of the old data's many batches is worth more than what few steps would make of it:
            # https://keras.io/guides/transfer_learning, on BatchNormalization.
            layer.trainable = learned and not isinstance(layer, keras.layers.BatchNormalization)
        count = sum(bool(layer.trainable_weights) for layer, _ in self._learned)
        log.info("phase %s: %d layers with weights learn", self.name, count, extra={"phase": self.name})
