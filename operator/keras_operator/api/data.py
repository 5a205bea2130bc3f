"""The data that a version is trained on: images, or a table."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .addresses import S3_FOLDER
from .cache import Cache
from .labels import Labels
from .records import RECORD_FILES, Records
from .records import RULES_OF_DATA as RULES_OF_RECORDS
from .rules import Rule, ruled
from .table import RULES_OF_DATA, Table
from .target import RULE_OF_DATA as NUMBERS_HAVE_NO_CLASSES
from .wire import Written


class DataFormat(StrEnum):
    """How the data lies under its address."""

    IMAGE_FOLDER = "ImageFolder"
    CSV = "CSV"
    NPZ = "NPZ"
    TFRECORD = "TFRecord"


class ColorMode(StrEnum):
    """What images are converted to when they are read."""

    RGB = "rgb"
    GRAYSCALE = "grayscale"


class ClassWeights(StrEnum):
    """How much each class counts in the loss."""

    BALANCED = "balanced"


_Side = Annotated[int, Meta(ge=8, le=1024)]

# In CEL, because the API server cuts `minimum: 0.01` to 0 where it is given a whole number.
_FRACTION = Rule(
    cel="self >= 0.01 && self <= 0.9",
    message="must be a fraction from 0.01 to 0.9: write 0.2 for 20 %",
    holds=lambda fraction: 0.01 <= fraction <= 0.9,
)

_TWO_SIDES = Rule(
    cel="size(self) == 2",
    message="must be two numbers, the height and the width in pixels: such as [180, 180]",
)

_FILES = (".gz", ".bz2", ".xz", ".7z", ".rar", ".h5", ".jpg", ".jpeg", ".png")
_GZIPPED = (".tar.gz", ".csv.gz", *(ending for ending in RECORD_FILES if ending.endswith(".gz")))
FOLDER_OR_ARCHIVE = Rule(
    cel=f"{[*_GZIPPED]}.exists(ending, self.endsWith(ending)) || !{[*_FILES]}.exists(ending, self.endsWith(ending))",
    message=(
        "must be a folder, or one .zip, .tar, .tar.gz or .tgz archive of it: name the folder that holds one folder of "
        "images for each class"
    ),
    holds=lambda uri: uri.endswith(_GZIPPED) or not uri.endswith(_FILES),
)
"""An address of images."""


def _apart(one: str, other: str) -> Rule:
    """Neither of two optional folders may be or hold the other: one image would be in two parts."""
    names = [re.sub("_(.)", lambda found: found[1].upper(), name) for name in (one, other)]

    def holds(data: "Data") -> bool:
        first, second = getattr(data, one), getattr(data, other)
        if first is None or second is None:
            return True
        first, second = first.removesuffix("/") + "/", second.removesuffix("/") + "/"
        return not first.startswith(second) and not second.startswith(first)

    first, second = (f"(self.{name}.endsWith('/') ? self.{name} : self.{name} + '/')" for name in names)
    given = "".join(f"!has(self.{name}) || " for name in names if name != "uri")
    return Rule(
        cel=f"{given}!{first}.startsWith({second}) && !{second}.startsWith({first})",
        message=f"must not be {names[0]}, lie in it or hold it, or images would be in two parts: name another folder",
        holds=holds,
        field=f".{names[1]}",
    )


class Data(Written, frozen=True, kw_only=True):
    """The images, or the rows of a table, to learn from, and how they are split."""

    uri: Annotated[
        str,
        Meta(
            max_length=1024,
            description=(
                "Folder in S3 that holds one folder of images (JPEG, PNG, BMP, GIF or WebP) for each class; the "
                "folder's name is the class's name; or one .zip, .tar, .tar.gz or .tgz archive of that folder. With "
                "format CSV: a .csv or .csv.gz file, or a folder or archive of such files. With format NPZ: one .npz "
                "file."
            ),
            examples=["s3://datasets/dogs"],
            extra=ruled(*S3_FOLDER, FOLDER_OR_ARCHIVE),
        ),
    ]
    format: Annotated[
        DataFormat,
        Meta(
            description=(
                "How the data lies there; ImageFolder is one folder of images for each class, CSV a table with a "
                "header line (UTF-8, columns parted by commas), in one file or in several with the same columns, NPZ "
                "arrays of NumPy: x_train and y_train, and x_val, y_val, x_test and y_test where those parts are split "
                "off; images of any size, or rows of features. TFRecord is files of tf.train.Example, packed by gzip "
                "or not: images, as records says, or rows, as table says."
            ),
            examples=["ImageFolder"],
        ),
    ] = DataFormat.IMAGE_FOLDER
    table: (
        Annotated[
            Table,
            Meta(
                description=(
                    "The columns of a table, for format CSV, or the features of records that hold no images, for "
                    "format TFRecord. Left out: the data is images."
                ),
                examples=[{"target": "species", "ignored": ["id"]}],
            ),
        ]
        | None
    ) = None
    records: (
        Annotated[
            Records,
            Meta(
                description=(
                    "Which features of a record are the image and its class, for format TFRecord. Left out: "
                    "image/encoded and image/class/label, where there is no table."
                ),
                examples=[{"image": "image", "label": "label", "classes": ["cat", "dog"]}],
            ),
        ]
        | None
    ) = None
    labels: (
        Annotated[
            Labels,
            Meta(
                description=(
                    "A table beside the images that says of which class each is. Images that it does not name are left "
                    "out where none beside them is named. Left out: the images' folders are their classes."
                ),
                examples=[{"file": "labels.csv", "fileColumn": "id", "classColumn": "breed"}],
            ),
        ]
        | None
    ) = None
    validation_uri: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description=(
                    "Folder, archive or table in S3, laid out as the uri is, that is the validation part as a whole. "
                    "Left out: validationFraction of the images or rows."
                ),
                examples=["s3://datasets/dogs/val"],
                extra=ruled(*S3_FOLDER, FOLDER_OR_ARCHIVE),
            ),
        ]
        | None
    ) = None
    test_uri: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description=(
                    "Folder, archive or table in S3, laid out as the uri is, that is the test part as a whole. Left "
                    "out: testFraction of the images or rows."
                ),
                examples=["s3://datasets/dogs/test"],
                extra=ruled(*S3_FOLDER, FOLDER_OR_ARCHIVE),
            ),
        ]
        | None
    ) = None
    class_weights: (
        Annotated[
            ClassWeights,
            Meta(
                description=(
                    "balanced: in the loss each class counts the same, however many images it has (an image's weight "
                    "is images / (classes * images of its class)); so for the rows of a table. Left out: each image "
                    "counts the same."
                ),
                examples=["balanced"],
            ),
        ]
        | None
    ) = None
    image_size: Annotated[
        tuple[_Side, _Side],
        Meta(
            description="Height and width in pixels that every image is resized to, each from 8 to 1024.",
            examples=[[180, 180]],
            extra=ruled(_TWO_SIDES),
            # Room for a mistake, so that the rule answers it with a sentence.
            extra_json_schema={"minItems": 0, "maxItems": 16},
        ),
    ] = (224, 224)
    color_mode: Annotated[
        ColorMode,
        Meta(description="What images are converted to: rgb has 3 channels, grayscale 1.", examples=["grayscale"]),
    ] = ColorMode.RGB
    validation_fraction: Annotated[
        float,
        Meta(
            description=(
                "Fraction of the images or rows, from 0.01 to 0.9, that is measured after every epoch and never "
                "learned from. "
                "Not looked at where validationUri is given."
            ),
            examples=[0.2],
            extra=ruled(_FRACTION),
        ),
    ] = 0.2
    test_fraction: Annotated[
        float,
        Meta(
            description=(
                "Fraction of the images or rows, from 0.01 to 0.9, that the finished version is evaluated on and that "
                "training never sees. Not looked at where testUri is given."
            ),
            examples=[0.1],
            extra=ruled(_FRACTION),
        ),
    ] = 0.1
    max_bad_files: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many unreadable images are left out and reported before the training fails instead.",
            examples=[0],
        ),
    ] = 100

    cache: (
        Annotated[
            Cache,
            Meta(
                description=(
                    "A volume that keeps what was fetched, so that later trainings on the same data start sooner. A "
                    "change makes no new version. Left out: none."
                ),
                examples=[{"claimName": "datasets"}],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # A fraction that is out of range has a sentence of its own.
            cel="[self.validationFraction, self.testFraction].exists(one, one < 0.01 || one > 0.9) || "
            "self.validationFraction + self.testFraction < 1.0",
            message=(
                "validationFraction and testFraction together must be below 1 (left out they are 0.2 and 0.1): the "
                "rest of the images is what training learns from"
            ),
            holds=lambda data: (
                any(not 0.01 <= one <= 0.9 for one in (data.validation_fraction, data.test_fraction))
                or data.validation_fraction + data.test_fraction < 1.0
            ),
        ),
        _apart("uri", "validation_uri"),
        _apart("uri", "test_uri"),
        _apart("validation_uri", "test_uri"),
        *RULES_OF_DATA,
        *RULES_OF_RECORDS,
        NUMBERS_HAVE_NO_CLASSES,
    )
