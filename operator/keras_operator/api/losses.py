"""Keras' losses: what is learned by each, what its labels are, and why some of them are not offered."""

from enum import StrEnum


class Loss(StrEnum):
    """Losses of Keras that suit one class per image or row, or a number per row."""

    BINARY_CROSSENTROPY = "binary_crossentropy"
    BINARY_FOCAL_CROSSENTROPY = "binary_focal_crossentropy"
    CATEGORICAL_CROSSENTROPY = "categorical_crossentropy"
    CATEGORICAL_FOCAL_CROSSENTROPY = "categorical_focal_crossentropy"
    CATEGORICAL_GENERALIZED_CROSS_ENTROPY = "categorical_generalized_cross_entropy"
    CATEGORICAL_HINGE = "categorical_hinge"
    COSINE_SIMILARITY = "cosine_similarity"
    DICE = "dice"
    HINGE = "hinge"
    HUBER = "huber"
    KL_DIVERGENCE = "kl_divergence"
    LOG_COSH = "log_cosh"
    MEAN_ABSOLUTE_ERROR = "mean_absolute_error"
    MEAN_ABSOLUTE_PERCENTAGE_ERROR = "mean_absolute_percentage_error"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    MEAN_SQUARED_LOGARITHMIC_ERROR = "mean_squared_logarithmic_error"
    POISSON = "poisson"
    SPARSE_CATEGORICAL_CROSSENTROPY = "sparse_categorical_crossentropy"
    SQUARED_HINGE = "squared_hinge"
    TVERSKY = "tversky"


LEFT_OUT = {
    "CTC": "is of sequences of labels, and each image or row has one",
    "Circle": "is of vectors whose distances are compared, and a network here answers probabilities or a number",
    "Loss": "is what other losses are made from",
}
"""Losses of Keras that no training here can use, by their classes, and why."""

DEFAULT_OF_NUMBERS = Loss.MEAN_SQUARED_ERROR
OF_NUMBERS_ALONE = (
    Loss.HUBER,
    Loss.LOG_COSH,
    Loss.MEAN_ABSOLUTE_ERROR,
    Loss.MEAN_ABSOLUTE_PERCENTAGE_ERROR,
    Loss.MEAN_SQUARED_LOGARITHMIC_ERROR,
)
OF_NUMBERS = (DEFAULT_OF_NUMBERS, Loss.POISSON, *OF_NUMBERS_ALONE)
"""Losses of a target that is a number; the first two are learned of one-hot classes, too."""
IN_OWN_UNIT = (Loss.MEAN_ABSOLUTE_PERCENTAGE_ERROR, Loss.MEAN_SQUARED_LOGARITHMIC_ERROR, Loss.POISSON)
"""Losses of numbers that are not of a difference alone: another mean or deviation would make something else of them."""
OF_POSITIVE_ANSWERS = (Loss.MEAN_SQUARED_LOGARITHMIC_ERROR, Loss.POISSON)
"""Losses of numbers by a logarithm of the answer."""

OF_CLASS_INDICES = (Loss.CATEGORICAL_GENERALIZED_CROSS_ENTROPY, Loss.SPARSE_CATEGORICAL_CROSSENTROPY)
"""Losses whose labels are classes' indices, and not one number for each class."""
# Keras makes -1 and 1 of labels only where all of a batch are 0 or 1.
OF_WHOLE_LABELS = (*OF_CLASS_INDICES, Loss.HINGE, Loss.SQUARED_HINGE)
"""Losses that cannot take an image with parts of two labels."""
OF_SMOOTH_LABELS = (
    Loss.BINARY_CROSSENTROPY,
    Loss.BINARY_FOCAL_CROSSENTROPY,
    Loss.CATEGORICAL_CROSSENTROPY,
    Loss.CATEGORICAL_FOCAL_CROSSENTROPY,
)
"""Losses that take labelSmoothing."""


def named(losses: tuple[Loss, ...]) -> list[str]:
    """Their names, as CEL has them."""
    return [str(loss) for loss in losses]
