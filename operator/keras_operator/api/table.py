"""A table as training data: which column is learned, and what the others are."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from .rules import Rule
from .target import TargetKind
from .wire import Written

if TYPE_CHECKING:
    from .data import Data
    from .training import Training

MAX_TOKENS = 10_000
"""What `maxTokens` is where it is left out."""

SEQUENCE_LENGTH = 256
"""What `sequenceLength` is where it is left out."""

_MOST_NAMED = 256
# Each has a vocabulary and vectors of its own, and every comparison of two lists costs the API server.
_MOST_TEXTS = 16
_Column = Annotated[str, Meta(min_length=1, max_length=128)]
_KINDS = ("numeric", "categorical", "text", "ignored")


def _in_one_list_only(one: str, other: str) -> Rule:
    # The shorter list outside: what the API server allows for is the product of both and what is looked for.
    short, long = (other, one) if other == "text" else (one, other)
    return Rule(
        cel=f"!has(self.{one}) || !has(self.{other}) || !self.{short}.exists(column, column in self.{long})",
        message=f"a column is named in {one} and in {other}: name it in one of them",
        holds=lambda table: not set(getattr(table, one)) & set(getattr(table, other)),
        field=f".{other}",
    )


def _target_is_no_feature(kind: str) -> Rule:
    number = "; to learn a number, write targetKind: numeric" if kind == "numeric" else ""
    return Rule(
        cel=f"!has(self.{kind}) || !(self.target in self.{kind})",
        message=f"names the target, which is what is learned: remove it there, or correct target{number}",
        holds=lambda table: table.target not in getattr(table, kind),
        field=f".{kind}",
    )


def _of_texts(name: str, written: str) -> Rule:
    return Rule(
        cel=f"!has(self.{written}) || (has(self.text) && size(self.text) > 0)",
        message="is of text columns, and there are none: name them in text, or remove it",
        holds=lambda table: getattr(table, name) is None or bool(table.text),
        field=f".{written}",
    )


class Table(Written, frozen=True, kw_only=True):
    """The columns of a table; the names are those of its header line."""

    target: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description="Column whose values are learned: the classes, or numbers if targetKind is numeric.",
            examples=["species"],
        ),
    ]
    target_kind: Annotated[
        TargetKind,
        Meta(
            description=(
                "categorical: the target is one of several classes. numeric: it is a number, which is learned at mean "
                "0 and variance 1 within the model, and answered in its own unit."
            ),
            examples=["numeric"],
        ),
    ] = TargetKind.CATEGORICAL
    numeric: Annotated[
        tuple[_Column, ...],
        Meta(
            max_length=_MOST_NAMED,
            description=(
                "Feature columns that hold numbers; they are brought to mean 0 and variance 1 within the model. "
                "Left out: a column that is named in no list is numeric if all its cells are numbers, else categorical."
            ),
            examples=[["age", "income"]],
        ),
    ] = ()
    categorical: Annotated[
        tuple[_Column, ...],
        Meta(
            max_length=_MOST_NAMED,
            description=(
                "Feature columns that hold one of several words, at most 10000 different ones; numbers in them are "
                "words too, such as postcodes. Left out: those in no list with cells that are no numbers."
            ),
            examples=[["town", "postcode"]],
        ),
    ] = ()
    text: Annotated[
        tuple[_Column, ...],
        Meta(
            max_length=_MOST_TEXTS,
            description=(
                "Feature columns that hold free text. Words are what stands between blanks, in lower case and without "
                "punctuation; the mean of their learned vectors is what the network sees. Left out: none."
            ),
            examples=[["review"]],
        ),
    ] = ()
    max_tokens: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=100_000,
                description=(
                    "Words that each text column's vocabulary has at most, the commonest of the rows that are learned "
                    f"from; all others are one unknown word. Left out: {MAX_TOKENS}."
                ),
                examples=[20_000],
            ),
        ]
        | None
    ) = None
    sequence_length: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=4096,
                description=(
                    f"Number of words that are read of a text, from its beginning. Left out: {SEQUENCE_LENGTH}."
                ),
                examples=[100],
            ),
        ]
        | None
    ) = None
    ignored: Annotated[
        tuple[_Column, ...],
        Meta(
            max_length=_MOST_NAMED,
            description="Columns that are no features, such as a row's number or its owner's name. Left out: none.",
            examples=[["id"]],
        ),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(_target_is_no_feature(kind) for kind in _KINDS),
        *(_in_one_list_only(one, other) for one, other in itertools.combinations(_KINDS, 2)),
        _of_texts("max_tokens", "maxTokens"),
        _of_texts("sequence_length", "sequenceLength"),
    )


TABLE_FILES = (".csv", ".csv.gz")
"""How the name of one table ends."""


def is_table_file(uri: str) -> bool:
    """Whether an address is that of one table, not of a folder or an archive."""
    return uri.endswith(TABLE_FILES)


# An .npz is a sentence of its own.
_NAME_TABLES = ("CSV", "NPZ")


def _needs_the_format(name: str, written: str) -> Rule:
    def holds(data: "Data") -> bool:
        uri: str | None = getattr(data, name)
        return data.format in _NAME_TABLES or uri is None or not is_table_file(uri)

    given = "" if name == "uri" else f"!has(self.{written}) || "
    return Rule(
        cel=(
            f"{given}self.format in {[*_NAME_TABLES]} || "
            f"!{[*TABLE_FILES]}.exists(ending, self.{written}.endsWith(ending))"
        ),
        message=(
            "is a table, and format is not CSV: write format: CSV and table: {target: …} to learn from it, or name "
            "data of the format"
        ),
        holds=holds,
        field=f".{written}",
    )


def _has_image_files(data: "Data") -> bool:
    """Whether what is learned from are the bytes of images' files, wherever they stand."""
    return data.format == "ImageFolder" or (data.format == "TFRecord" and data.table is None)


def _has_rows(data: "Data") -> bool:
    """Whether what is learned from are the columns that `table` names."""
    return data.format == "CSV" or (data.format == "TFRecord" and data.table is not None)


def _image_files(data: str) -> str:
    return f"({data}.format == 'ImageFolder' || ({data}.format == 'TFRecord' && !has({data}.table)))"


def _rows(data: str) -> str:
    return f"({data}.format == 'CSV' || ({data}.format == 'TFRecord' && has({data}.table)))"


def _of_images(cel: str, what: str, field: str, holds: Callable[[Any], bool]) -> Rule:
    """A field of `data` that says something of images' files, at what it is where nobody writes it."""
    return Rule(
        cel=f"{_image_files('self')} || {cel}",
        message=f"{what}, and the data is no files of images: leave it out",
        holds=lambda data: _has_image_files(data) or holds(data),
        field=field,
    )


def _of_arrays(name: str, written: str) -> Rule:
    """A part of an .npz is in the file itself."""
    return Rule(
        cel=f"self.format != 'NPZ' || !has(self.{written})",
        message=(
            f"the arrays x_{name} and y_{name} of an .npz file are that part, and format is NPZ: put them into it, and "
            "leave this out"
        ),
        holds=lambda data: data.format != "NPZ" or getattr(data, f"{_PARTS[name]}_uri") is None,
        field=f".{written}",
    )


_PARTS = {"val": "validation", "test": "test"}


def _no_arrays(name: str, written: str) -> Rule:
    def holds(data: "Data") -> bool:
        uri: str | None = getattr(data, name)
        return uri is None or data.format == "NPZ" or not uri.endswith(".npz")

    given = "" if name == "uri" else f"!has(self.{written}) || "
    return Rule(
        cel=f"{given}self.format == 'NPZ' || !self.{written}.endsWith('.npz')",
        message="is a file of arrays: write format: NPZ to learn from it, or name data of the format",
        holds=holds,
        field=f".{written}",
    )


RULES_OF_DATA = (
    Rule(
        cel="self.format != 'CSV' || has(self.table)",
        message="is missing, and format is CSV: write table: {target: …} with the column that is to be learned",
        holds=lambda data: data.format != "CSV" or data.table is not None,
        field=".table",
    ),
    Rule(
        cel="self.format in ['CSV', 'TFRecord'] || !has(self.table)",
        message="is for tables: write format: CSV or TFRecord, or remove table to learn from images",
        holds=lambda data: data.format in {"CSV", "TFRecord"} or data.table is None,
        field=".table",
    ),
    _needs_the_format("uri", "uri"),
    _needs_the_format("validation_uri", "validationUri"),
    _needs_the_format("test_uri", "testUri"),
    Rule(
        cel="self.format != 'NPZ' || self.uri.endsWith('.npz')",
        message="must be one .npz file, for format is NPZ: such as s3://datasets/digits.npz",
        holds=lambda data: data.format != "NPZ" or data.uri.endswith(".npz"),
        field=".uri",
    ),
    _no_arrays("uri", "uri"),
    _no_arrays("validation_uri", "validationUri"),
    _no_arrays("test_uri", "testUri"),
    _of_arrays("val", "validationUri"),
    _of_arrays("test", "testUri"),
    Rule(
        cel="self.format == 'ImageFolder' || !has(self.labels)",
        message="says of which class images are, and format is not ImageFolder: leave it out",
        holds=lambda data: data.format == "ImageFolder" or data.labels is None,
        field=".labels",
    ),
    _of_images(
        "self.imageSize == [224, 224]",
        "is the size of images",
        ".imageSize",
        lambda data: data.image_size == (224, 224),
    ),
    _of_images("self.colorMode == 'rgb'", "is for images", ".colorMode", lambda data: data.color_mode == "rgb"),
    _of_images(
        "self.maxBadFiles == 100",
        "counts unreadable images (what cannot be used of a table or an array always ends the training)",
        ".maxBadFiles",
        lambda data: data.max_bad_files == 100,
    ),
)
"""What must hold of `data` for a table to be learned from, and for each field to make a difference."""


def _changes_nothing(training: "Training") -> bool:
    return training.augmentation == type(training.augmentation)()


_OFF = " && ".join(
    (
        "self.augmentation.rotation == 0.0",
        *(f"self.augmentation.{field} == 0.0" for field in ("widthShift", "heightShift", "shear", "zoom")),
        *(f"self.augmentation.{field} == 0.0" for field in ("channelShift", "contrast", "cutout", "mixup", "cutmix")),
        *(f"!has(self.augmentation.{field})" for field in ("zoomRange", "brightness", "randAugment")),
        "!self.augmentation.horizontalFlip",
        "!self.augmentation.verticalFlip",
        "self.augmentation.fillMode == 'nearest'",
        "self.augmentation.fillValue == 0.0",
    )
)

RULES_OF_TRAINING = (
    Rule(
        cel=(f"!{_rows('self.data')} || self.architecture.name == 'MLP' || has(self.builder) || has(self.container)"),
        message="cannot learn from a table: write architecture: {name: MLP}",
        holds=lambda training: (
            not _has_rows(training.data)
            or training.architecture.name == "MLP"
            or training.builder is not None
            or training.container is not None
        ),
        field=".architecture.name",
    ),
    Rule(
        cel=f"!{_image_files('self.data')} || self.architecture.name != 'MLP'",
        message=(
            "MLP learns from tables: write data.format: CSV and data.table, or another name for images, such as "
            "SmallCNN"
        ),
        holds=lambda training: not _has_image_files(training.data) or training.architecture.name != "MLP",
        field=".architecture.name",
    ),
    Rule(
        cel=f"!{_rows('self.data')} || !has(self.builder)",
        message="builds a network for images, and the data is a table: remove it, and write architecture: {name: MLP}",
        holds=lambda training: not _has_rows(training.data) or training.builder is None,
        field=".builder",
    ),
    Rule(
        cel=f"!self.tflite || self.architecture.name != 'MLP' && !{_rows('self.data')}",
        message="is for networks that take images, and this one takes rows: remove it",
        holds=lambda training: (
            not training.tflite or (training.architecture.name != "MLP" and not _has_rows(training.data))
        ),
        field=".tflite",
    ),
    Rule(
        cel="self.architecture.name != 'MLP' || !has(self.initialWeights)",
        message="are for networks that take images, and MLP takes rows: remove it",
        holds=lambda training: training.architecture.name != "MLP" or training.initial_weights is None,
        field=".initialWeights",
    ),
    Rule(
        cel=f"self.architecture.name != 'MLP' || !has(self.augmentation) || {_OFF}",
        message="changes images, and MLP learns from rows: remove it",
        holds=lambda training: training.architecture.name != "MLP" or _changes_nothing(training),
        field=".augmentation",
    ),
    Rule(
        cel="self.architecture.name != 'MLP' || !has(self.normalization)",
        message="changes images, and MLP brings the numbers of rows to mean 0 and variance 1 by itself: remove it",
        holds=lambda training: training.architecture.name != "MLP" or training.normalization is None,
        field=".normalization",
    ),
)
"""What must hold of `training` for a table to be learned from, and for each field to make a difference."""
