"""Which classes a model predicts, counted: what a canary's answers are compared by.

Only of a model that names its classes (`assets.extra/classes.json`), and bounded: a thousand classes would be a
thousand lines of each page of metrics. They are counted by name, for two versions may have learned from different
folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from model_server.runtime.dtypes import Array

NAMED_CLASSES = 99
"""So many classes of a version are counted by their names, and all others together under an empty one."""


def predicted_classes(outputs: Mapping[str, Array], names: Sequence[str] | None) -> Mapping[str, int]:
    """How often each class is the likeliest of a row; empty where the outputs are of no classes.

    The first output counts that is a matrix of floats [rows, len(names)]; a request with several says the same twice.
    """
    for array in outputs.values():
        if names and array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] == len(names):
            likeliest = array.argmax(axis=1).tolist()
            return Counter(names[index] if index < NAMED_CLASSES else "" for index in likeliest)
    return {}
