"""Which image is for training, validation or test: decided by the file's content, so it never changes.

A file's SHA-256, read as a fraction in [0, 1), falls into test, validation or train, in this order. So adding or
removing files moves no other file, exact copies are always on the same side, and the model's seed has no say. Two
exceptions, each as small as it can be, keep small data sets usable:

* a class with no file in train gives its file with the highest fraction to train (with every copy of it);
* where a fraction is asked for and no file fell there, the lowest train file goes there, provided that each class that
  has a copy of it keeps another file in train; where there is no such file, one of the other part that has two.

A part that a team has split off itself stays as it is. Copies of its images among the others are in no part at all, so
that nothing is learned from what is measured; a copy in both such parts counts as a test image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class Part(IntEnum):
    """The three parts of a data set."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Split:
    """Indices of the images in each part, ascending."""

    train: Indices
    validation: Indices
    test: Indices


def fraction_of(sha256: str) -> float:
    """A SHA-256 in hex as a fraction in [0, 1): its first 52 bits, what a float holds exactly."""
    return int(sha256[:13], 16) / 16**13


def split_by_content(
    sha256: Sequence[str], labels: Sequence[int], *, validation_fraction: float, test_fraction: float
) -> Split:
    """Split images by the SHA-256 (hex) of their bytes.

    Args:
        sha256: one for each image.
        labels: class index of each image.
        validation_fraction: wanted share of the validation part, 0 for none.
        test_fraction: wanted share of the test part, 0 for none; both together are less than 1.
    """
    part_of = {sha: _part(fraction_of(sha), validation_fraction, test_fraction) for sha in sha256}
    classes_of: dict[str, set[int]] = {sha: set() for sha in part_of}
    files_of: dict[int, set[str]] = {}
    for sha, label in zip(sha256, labels, strict=True):
        classes_of[sha].add(label)
        files_of.setdefault(label, set()).add(sha)

    for label in sorted(files_of):
        if not any(part_of[sha] is Part.TRAIN for sha in files_of[label]):
            part_of[max(files_of[label])] = Part.TRAIN
    for part, other, fraction in (
        (Part.TEST, Part.VALIDATION, test_fraction),
        (Part.VALIDATION, Part.TEST, validation_fraction),
    ):
        if fraction > 0 and part not in part_of.values():
            spare = _spare_in_train(part_of, classes_of, files_of) or _spare_in(other, part_of)
            if spare is not None:
                part_of[spare] = part

    parts = np.array([part_of[sha] for sha in sha256], dtype=np.int64)
    return Split(*(np.flatnonzero(parts == part) for part in Part))


def split_with_own_parts(
    sha256: Sequence[str],
    labels: Sequence[int],
    own: Sequence[Part | None],
    *,
    validation_fraction: float,
    test_fraction: float,
) -> Split:
    """As `split_by_content` for the images whose `own` is None, beside those whose part is given."""
    held_out = {
        part: {sha for sha, of in zip(sha256, own, strict=True) if of is part} for part in (Part.VALIDATION, Part.TEST)
    }
    held_out[Part.VALIDATION] -= held_out[Part.TEST]
    taken = held_out[Part.VALIDATION] | held_out[Part.TEST]
    free = np.array([i for i, part in enumerate(own) if part is None and sha256[i] not in taken], dtype=np.int64)
    split = split_by_content(
        [sha256[i] for i in free],
        [labels[i] for i in free],
        validation_fraction=0.0 if held_out[Part.VALIDATION] else validation_fraction,
        test_fraction=0.0 if held_out[Part.TEST] else test_fraction,
    )

    def whole(part: Part, chosen: Indices) -> Indices:
        given = [i for i, of in enumerate(own) if of is part and sha256[i] in held_out[part]]
        return np.sort(np.concatenate([free[chosen], np.array(given, dtype=np.int64)]))

    return Split(free[split.train], whole(Part.VALIDATION, split.validation), whole(Part.TEST, split.test))


def _part(fraction: float, validation_fraction: float, test_fraction: float) -> Part:
    if fraction < test_fraction:
        return Part.TEST
    return Part.VALIDATION if fraction < test_fraction + validation_fraction else Part.TRAIN


def _spare_in_train(
    part_of: dict[str, Part], classes_of: dict[str, set[int]], files_of: dict[int, set[str]]
) -> str | None:
    """The train file with the lowest fraction that no class needs as its last one."""
    in_train = {label: sum(part_of[sha] is Part.TRAIN for sha in files) for label, files in files_of.items()}
    spare = (
        sha
        for sha, part in part_of.items()
        if part is Part.TRAIN and all(in_train[label] > 1 for label in classes_of[sha])
    )
    return min(spare, default=None)


def _spare_in(part: Part, part_of: dict[str, Part]) -> str | None:
    """The file of `part` with the lowest fraction, if it is not the only one."""
    files = sorted(sha for sha, other in part_of.items() if other is part)
    return files[0] if len(files) > 1 else None
