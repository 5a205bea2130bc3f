"""Which files under `data.uri` are images, and of which class: decided from names alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from model_store import Entry
from model_trainer.failure import NoImages, OneClass

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif"})


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that its name calls an image: `key` relative to the data uri, `label` an index into the classes."""

    key: str
    label: int
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies under the data uri.

    Attributes:
        classes: names of the class folders in the order of their code points; a label is an index into them.
        files: images in the order of their keys.
        ignored: how many other files there were, by what was found, e.g. {"hidden": 1, ".txt": 3}.
    """

    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    ignored: dict[str, int]


def list_images(uri: str, entries: Iterable[Entry]) -> Listing:
    """Sort the files under `uri` into classes: `<class>/<file>` and `<class>/<any folder>/<file>` belong to `<class>`.

    Raises:
        NoImages: there is no image in any class folder.
        OneClass: all images are in one class folder.
    """
    found: list[tuple[str, str, int]] = []
    ignored: Counter[str] = Counter()
    for entry in entries:
        folder, separator, _ = entry.key.partition("/")
        if not _is_image(entry.key):
            ignored[_kind(entry.key)] += 1
        elif not separator:
            ignored["images outside a class folder"] += 1
        else:
            found.append((entry.key, folder, entry.size))
    classes = tuple(sorted({folder for _, folder, _ in found}))
    if not classes:
        raise NoImages(_no_images(uri, ignored))
    if len(classes) == 1:
        raise OneClass(
            f"{uri} has one class folder, {classes[0]!r}, with {len(found)} images; a classifier needs at least two. "
            f"Put the images of each class into a folder of its own under {uri}."
        )
    labels = {name: label for label, name in enumerate(classes)}
    files = sorted((ImageFile(key, labels[folder], size) for key, folder, size in found), key=lambda file: file.key)
    return Listing(classes, tuple(files), dict(sorted(ignored.items())))


def _is_image(key: str) -> bool:
    path = PurePosixPath(key)
    return path.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in path.parts)


def _kind(key: str) -> str:
    path = PurePosixPath(key)
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    return path.suffix.lower() or "without extension"


def _no_images(uri: str, ignored: Counter[str]) -> str:
    if ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in ignored.most_common(5))
        found = f"{ignored.total()} other files were found ({kinds})"
    else:
        found = "nothing was found there at all"
    return (
        f"No images under {uri}: {found}. Images are {', '.join(sorted(EXTENSIONS))} files in one folder for each "
        f"class, such as {uri.rstrip('/')}/cat/1.png; put them there, or correct spec.training.data.uri."
    )
