"""The network of a training: by its name or from the team's own source, with the weights that it starts from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from keras_operator.api import PretrainedWeights, RunSpec, Training

from model_trainer.architectures import build
from model_trainer.builder import build_by, load, source_of
from model_trainer.context import Context
from model_trainer.data.dataset import Dataset
from model_trainer.data.split import Indices
from model_trainer.normalisation import normalise_at_once
from model_trainer.precision import answer_in_full, built_for
from model_trainer.pretrained import freeze_all_but, start_from_imagenet
from model_trainer.run_folder import RunFolder
from model_trainer.standardization import standardized
from model_trainer.tables.mlp import build_mlp
from model_trainer.tables.table import Table
from model_trainer.weights import start_from

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A keras.Model that is not compiled yet, and the SHA-256 of the source that built it, where there is one."""

    model: Any
    builder: str | None


def network_of(
    spec: RunSpec, training: Training, dataset: Dataset, part: Indices, folder: RunFolder, context: Context
) -> Network:
    """The network for the images of `dataset`, of which `part` is learned from.

    Raises:
        InvalidArchitecture, InvalidBuilder: it cannot be built, or not for this data.
        BadModelFile, BadSavedModel: the weights that it should start from are not its own.
    """
    shape, classes = dataset.pixels.shape[1:], len(dataset.classes)
    digest = None
    with built_for(training.mixed_precision):
        if training.builder is None:
            rescaled = training.normalization is None or training.normalization.is_off
            model = build(training.architecture.name, shape, classes, rescaled=rescaled)
        else:
            source = source_of(training.builder, spec.store.endpoint, folder, context)
            digest = source.digest
            module = load(source, training.builder.timeout_seconds)
            model = build_by(training.builder, source, module, shape, classes)
    if training.mixed_precision is not None:
        answer_in_full(model)
        log.info("training computes by the policy %s", training.mixed_precision)
    if training.initial_weights is not None:
        start_from(training.initial_weights, model, spec, context)
    if training.architecture.weights is PretrainedWeights.IMAGENET:
        log.info("%s", start_from_imagenet(training.architecture.name, model))
    if training.trainable_layers is not None:
        log.info("%s", freeze_all_but(training.trainable_layers, model))
    normalise_at_once(model)
    if training.normalization is not None:
        # Last of all: weights to start from are those of the network alone.
        model = standardized(model, training.normalization, dataset.pixels, dataset.rows(part))
    return Network(model, digest)


def network_of_table(training: Training, table: Table) -> Network:
    """The network for the rows of a table."""
    with built_for(training.mixed_precision):
        model = build_mlp(training.architecture, table.encoding, len(table.classes), table.target, training.objective)
    if training.mixed_precision is not None:
        answer_in_full(model)
        log.info("training computes by the policy %s", training.mixed_precision)
    return Network(model, None)
