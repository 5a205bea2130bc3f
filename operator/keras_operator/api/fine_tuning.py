"""Fine-tuning in two phases: the head alone first, then what it stands on, with a lower learning rate."""

from typing import Annotated

from msgspec import Meta

from .rules import Rule
from .wire import Written


class FineTuning(Written, frozen=True, kw_only=True):
    """The head, which is the last layer with weights, learns alone first; the rest learns with it afterwards."""

    head_epochs: Annotated[
        int,
        Meta(
            ge=1,
            le=99_999,
            description="Epochs, of all, in which the head learns alone by optimizer.learningRate.",
            examples=[3],
        ),
    ]
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            le=10,
            description="Learning rate afterwards: the factor of each step, above 0 and at most 10.",
            examples=[0.0001],
        ),
    ] = 0.00001


RULES_OF_FINE_TUNING = (
    Rule(
        cel="!has(self.fineTuning) || has(self.initialWeights) || self.architecture.weights == 'imagenet'",
        message=(
            "a head would learn on top of random weights: write initialWeights or architecture.weights: imagenet, or "
            "remove fineTuning"
        ),
        holds=lambda training: (
            training.fine_tuning is None
            or training.initial_weights is not None
            or str(training.architecture.weights) == "imagenet"
        ),
        field=".fineTuning",
    ),
    Rule(
        cel="!has(self.fineTuning) || self.fineTuning.headEpochs < self.epochs",
        message=(
            "the head's epochs are the first of all epochs, and none would be left for the rest: write fewer than "
            "epochs, or raise epochs"
        ),
        holds=lambda training: training.fine_tuning is None or training.fine_tuning.head_epochs < training.epochs,
        field=".fineTuning.headEpochs",
    ),
    Rule(
        cel="!has(self.fineTuning) || !has(self.trainableLayers) || self.trainableLayers > 1",
        message=(
            "the head is one layer, and with fineTuning more learn after it: write 2 or more, leave it out for all "
            "layers, or remove fineTuning"
        ),
        holds=lambda training: (
            training.fine_tuning is None or training.trainable_layers is None or training.trainable_layers > 1
        ),
        field=".trainableLayers",
    ),
    Rule(
        cel="!has(self.fineTuning) || !has(self.optimizer.schedule)",
        message=(
            "a schedule and fineTuning both set the learning rate: remove optimizer.schedule, or fineTuning; "
            "reduceOnPlateau goes with it"
        ),
        holds=lambda training: training.fine_tuning is None or training.optimizer.schedule is None,
        field=".fineTuning",
    ),
)
"""Of a training."""
