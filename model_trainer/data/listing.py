"""Which files under an address are images, and of which class: decided from names alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from model_store import Entry
from model_trainer.data.split import Part
from model_trainer.failure import BadData, NoImages, OneClass
from model_trainer.tables.columns import MOST_WORDS

TRAINING_DATA = "spec.training.data"
"""The field that describes what is listed, where nothing else is said: for messages."""

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})

# Classes in a message: enough to see what is meant.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that its name calls an image and that cannot be used; `fault` is a short phrase."""

    key: str
    fault: str


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that its name calls an image.

    `key` is relative to its uri, `label` an index into the classes, `size` in bytes; `part` is the part whose own uri
    it was found under, None for the data's uri, whose images are still to be split.
    """

    key: str
    label: int
    size: int
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The images under one uri: `images` as (key, class, bytes), files that cannot be used, and what else there was.

    `table` is the address of the table that says the classes, empty where folders do; `one_class` is the whole sentence
    about images that are all of one class, where neither does.
    """

    uri: str
    images: tuple[tuple[str, str, int], ...]
    bad: tuple[BadFile, ...]
    ignored: Counter[str]
    table: str = ""
    one_class: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies under the data's uris.

    Attributes:
        classes: names of the classes; a label is an index into them.
        files: images in the order of their keys, or of the records that hold them: those to be split first, then the
            validation part's and the test part's own.
        ignored: how many other files there were, by what was found, e.g. {"hidden": 1, ".txt": 3}.
        bad: files that are known to be unusable before any is read.
    """

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    ignored: dict[str, int]
    bad: tuple[BadFile, ...] = ()


def in_class_folders(uri: str, entries: Iterable[Entry], field: str = TRAINING_DATA) -> Found:
    """Images by class folder: `<class>/<file>` and `<class>/<any folder>/<file>` belong to `<class>`.

    `field` is what names the uri.

    Raises:
        NoImages: there is no image in any class folder.
    """
    images: list[tuple[str, str, int]] = []
    ignored: Counter[str] = Counter()
    for entry in entries:
        folder, separator, _ = entry.key.partition("/")
        if not is_image(entry.key):
            ignored[kind_of(entry.key)] += 1
        elif not separator:
            ignored["images outside a class folder"] += 1
        else:
            images.append((entry.key, folder, entry.size))
    if not images:
        raise NoImages(_no_images(uri, ignored, field))
    return Found(uri, tuple(sorted(images)), (), ignored)


def in_classes(
    found: Found, own: Mapping[Part, Found] | None = None, order: Callable[[str], Any] | None = None
) -> Listing:
    """Number the classes of the images to be split, and of the parts that have their own uri.

    They are in the `order`, where none is given that of their code points.

    Raises:
        OneClass: all images are of one class.
        BadData: there are more classes than can be told apart, or a part of its own has one that is not among them.
    """
    own = own or {}
    classes = tuple(sorted({name for _, name, _ in found.images}, key=order))
    if len(classes) == 1:
        raise OneClass(_one_class(found, classes[0]))
    if len(classes) > MOST_WORDS:
        raise BadData(_too_many_classes(found, len(classes)))
    labels = {name: label for label, name in enumerate(classes)}
    files = [ImageFile(key, labels[name], size) for key, name, size in found.images]
    for part, of_part in sorted(own.items()):
        strange = sorted({name for _, name, _ in of_part.images} - set(classes))
        if strange:
            raise BadData(
                f"{of_part.uri} has {_some(strange)}, which {found.uri} does not have, so no model could ever get "
                "them right. Name the classes alike in both, or remove them."
            )
        files += [ImageFile(key, labels[name], size, part) for key, name, size in of_part.images]
    together = (found, *(of_part for _, of_part in sorted(own.items())))
    ignored: Counter[str] = sum((each.ignored for each in together), Counter())
    return Listing(
        classes, tuple(files), dict(sorted(ignored.items())), tuple(bad for each in together for bad in each.bad)
    )


def in_named_classes(found: Found, names: tuple[str, ...], field: str) -> Listing:
    """Number the classes as `names` does, which the field `field` gives; a name may have no image.

    Raises:
        BadData: images are of a class that is not among the names.
    """
    strange = sorted({name for _, name, _ in found.images} - set(names))
    if strange:
        raise BadData(
            f"{found.uri} has {_some(strange)}, which {field} does not name; it names {', '.join(names[:_NAMED])}"
            f"{' …' if len(names) > _NAMED else ''}. Name the classes alike in both."
        )
    labels = {name: label for label, name in enumerate(names)}
    files = tuple(ImageFile(key, labels[name], size) for key, name, size in found.images)
    return Listing(names, files, dict(sorted(found.ignored.items())), found.bad)


def list_images(uri: str, entries: Iterable[Entry]) -> Listing:
    """The images under `uri` by class folder. Raises NoImages and OneClass."""
    return in_classes(in_class_folders(uri, entries))


def is_image(key: str) -> bool:
    """Whether the name calls it an image, and nothing on the way to it is hidden."""
    path = PurePosixPath(key)
    return path.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in path.parts)


def kind_of(key: str) -> str:
    """What a file that is no image is counted as."""
    path = PurePosixPath(key)
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    return path.suffix.lower() or "without extension"


def _one_class(found: Found, name: str) -> str:
    if found.one_class:
        return found.one_class
    count = len(found.images)
    needs = "a classifier needs at least two"
    if found.table:
        images = "the one image" if count == 1 else f"all {count} images"
        said = f"{found.table} gives one class, {name!r}, to {images}"
        return f"{said}; {needs}. Name another class, or another classColumn."
    images = "1 image" if count == 1 else f"{count} images"
    return (
        f"{found.uri} has one class folder, {name!r}, with {images}; {needs}. Put the images of each class into a "
        f"folder of its own under {found.uri}."
    )


def _too_many_classes(found: Found, count: int) -> str:
    most = f"and {MOST_WORDS:,} are the most"
    if found.table:
        return f"{found.table} names {count:,} classes, {most}. Name another classColumn, or put classes together."
    return (
        f"{found.uri} has {count:,} class folders, {most}. A folder right below it is a class and not an image: put "
        "the images of each class into one folder."
    )


def _some(classes: list[str]) -> str:
    more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
    return f"{'the class' if len(classes) == 1 else 'the classes'} {', '.join(map(repr, classes[:_NAMED]))}{more}"


def _no_images(uri: str, ignored: Counter[str], field: str) -> str:
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(5))
        found = f"{ignored.total()} other files were found ({kinds})"
    else:
        found = "nothing was found there at all"
    return (
        f"No images under {uri}: {found}. Images are {', '.join(sorted(EXTENSIONS))} files in one folder for each "
        f"class, such as {uri.rstrip('/')}/cat/1.png; put them there, or correct {field}.uri."
    )
