"""What a version was trained on, in numbers and one picture: data-card.json beside it."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter

import msgspec
import numpy as np
import tensorflow as tf

from model_trainer.data.dataset import Dataset, Labelled
from model_trainer.data.listing import BadFile
from model_trainer.data.moments import moments_of
from model_trainer.data.split import Split

# Of bad files and of copies: enough to find the cause, few enough to be read.
_NAMED = 100


class ClassCount(msgspec.Struct, frozen=True, rename="camel"):
    """How many images of one class are in each part."""

    name: str
    train: int
    validation: int
    test: int


class FileSizes(msgspec.Struct, frozen=True, rename="camel"):
    """Bytes of the usable files: least, middle, most, and of all together."""

    smallest: int
    median: int
    largest: int
    total: int


class DataCard(msgspec.Struct, frozen=True, rename="camel"):
    """data-card.json.

    Attributes:
        sha256: of the whole set: of the lines `<SHA-256 of the file> <class>`, sorted, so that neither names nor order
            count, and any added, removed, changed or relabelled image does.
        images: usable files.
        distinct_images: those of them that differ in content.
        not_in_a_part: copies of images of a part that the team had split off, which are not learned from.
        bad_files: files that could not be used, the first hundred of them with what is wrong.
        duplicates: the first hundred groups of files with the same content.
        conflicting_duplicates: groups of files with the same content in different classes.
        ignored_files: other files, by what was found.
        classes: the histogram.
        file_sizes: of the usable files.
        image_shape: height, width and channels that every image was brought to.
        channel_means: mean of each channel over the train part, from 0 to 1; over the test part where there is no
            other, as with a model that was trained elsewhere.
        channel_deviations: standard deviation of each channel over the same part.
        mean_image: that part's mean image, a PNG in base64.
    """

    sha256: str
    images: int
    distinct_images: int
    not_in_a_part: int
    bad_files: int
    bad_file_names: tuple[BadFile, ...]
    duplicates: tuple[tuple[str, ...], ...]
    conflicting_duplicates: int
    ignored_files: dict[str, int]
    classes: tuple[ClassCount, ...]
    file_sizes: FileSizes
    image_shape: tuple[int, ...]
    channel_means: tuple[float, ...]
    channel_deviations: tuple[float, ...]
    mean_image: str


def data_card(dataset: Dataset, split: Split) -> DataCard:
    """Describe the data that was read. Reads every train image once more, or every test image where there is none."""
    examples = dataset.examples
    sizes = np.array([example.size for example in examples], dtype=np.int64)
    files_of: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        files_of.setdefault(example.sha256, []).append(index)
    copies = [group for group in files_of.values() if len(group) > 1]
    moments = moments_of(dataset.pixels, dataset.rows(split.train if len(split.train) else split.test))
    counts = [Counter(dataset.labels(part).tolist()) for part in (split.train, split.validation, split.test)]
    return DataCard(
        sha256=set_hash(dataset),
        images=len(examples),
        distinct_images=len(files_of),
        not_in_a_part=len(examples) - len(split.train) - len(split.validation) - len(split.test),
        bad_files=len(dataset.bad),
        bad_file_names=dataset.bad[:_NAMED],
        duplicates=tuple(tuple(examples[index].key for index in group[:_NAMED]) for group in copies[:_NAMED]),
        conflicting_duplicates=sum(len({examples[index].label for index in group}) > 1 for group in copies),
        ignored_files=dataset.ignored,
        classes=tuple(
            ClassCount(name, *(count[label] for count in counts)) for label, name in enumerate(dataset.classes)
        ),
        file_sizes=FileSizes(int(sizes.min()), int(np.median(sizes)), int(sizes.max()), int(sizes.sum())),
        image_shape=dataset.pixels.shape[1:],
        channel_means=moments.means,
        channel_deviations=moments.deviations,
        mean_image=base64.b64encode(tf.io.encode_png(moments.mean_image).numpy()).decode(),
    )


def set_hash(dataset: Labelled) -> str:
    """See DataCard.sha256."""
    lines = sorted(f"{example.sha256} {dataset.classes[example.label]}\n" for example in dataset.examples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
