"""Does the exported model answer as the trained one does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model_trainer.export import BYTES_SIGNATURE, FLOAT_SIGNATURE, IMAGE_BYTES, IMAGES, PROBABILITIES
from model_trainer.failure import ParityFailed
from model_trainer.samples import PREDICT_BATCH, Samples

# Probabilities. The same operations in another order differ by about 1e-6 in float32; a wrong rescaling, resize or
# order of channels differs by more than 1e-2.
TOLERANCE = 1e-4


def check_parity(directory: Path, model: Any, samples: Samples) -> float:
    """Load the SavedModel in `directory` afresh and compare both its signatures with the trained model.

    The trained model's answers are those of `model` now and those that it gave when it had been trained.

    Returns:
        The largest absolute difference between two probabilities.

    Raises:
        ParityFailed: it is above 1e-4, or no number.
    """
    signatures = tf.saved_model.load(str(directory)).signatures
    answers = {
        "the saved model.keras": model.predict(samples.images, batch_size=PREDICT_BATCH, verbose=0),
        FLOAT_SIGNATURE: _ask(signatures[FLOAT_SIGNATURE], IMAGES, samples.images),
        BYTES_SIGNATURE: _ask(signatures[BYTES_SIGNATURE], IMAGE_BYTES, np.array(samples.files, dtype=object)),
    }
    largest = 0.0
    for what, probabilities in answers.items():
        difference = np.abs(probabilities - samples.probabilities).max(axis=1)
        worst = int(np.argmax(difference))
        if not difference[worst] <= TOLERANCE:
            raise ParityFailed(
                f"{what} differs from the model in training by {difference[worst]:.2g} on held-out image {worst + 1} "
                f"of {len(samples.files)}, and {TOLERANCE:g} is allowed. Nothing was published. Train again; if it "
                "stays so, please report it with the architecture's name."
            )
        largest = max(largest, float(difference[worst]))
    return largest


def _ask(signature: Any, name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    batches = [values[start : start + PREDICT_BATCH] for start in range(0, len(values), PREDICT_BATCH)]
    return np.concatenate([signature(**{name: tf.constant(list(batch))})[PROBABILITIES].numpy() for batch in batches])
