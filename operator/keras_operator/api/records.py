"""Images in TFRecord files: which features of a record hold the image and its class."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from .rules import Rule
from .wire import Written

if TYPE_CHECKING:
    from .data import Data

RECORD_FILES = (".tfrecord", ".tfrecords", ".tfrec", ".tfrecord.gz", ".tfrecords.gz")


class ImageRecords(Written, frozen=True, kw_only=True):
    """The features of a record that holds an image of a known class."""

    image: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description="Feature that holds the bytes of an image's file.",
            examples=["image"],
        ),
    ] = "image/encoded"
    label: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description="Feature that holds the image's class: one whole number from 0 up, or its name.",
            examples=["image/class/text"],
        ),
    ] = "image/class/label"

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.image != self.label",
            message="image and label must be two features, the picture and its class: correct one of them",
            holds=lambda records: records.image != records.label,
        ),
    )


class Records(ImageRecords, frozen=True, kw_only=True):
    """The same of records to learn from, with the names of the classes."""

    classes: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            max_length=1000,
            description=(
                "Names of the classes, in the order of the model's outputs; the first is that of the number 0. A name "
                "that no record has is no class. Left out: numbers are called by themselves, names are sorted."
            ),
            examples=[["beagle", "corgi", "poodle"]],
        ),
    ] = ()


def _needs_the_format(name: str, written: str) -> Rule:
    def holds(data: "Data") -> bool:
        uri: str | None = getattr(data, name)
        return uri is None or data.format == "TFRecord" or not uri.endswith(RECORD_FILES)

    given = "" if name == "uri" else f"!has(self.{written}) || "
    return Rule(
        cel=f"{given}self.format == 'TFRecord' || !{[*RECORD_FILES]}.exists(one, self.{written}.endsWith(one))",
        message="is a file of records: write format: TFRecord to learn from it, or name data of the format",
        holds=holds,
        field=f".{written}",
    )


RULES_OF_DATA = (
    Rule(
        cel="self.format == 'TFRecord' || !has(self.records)",
        message="are features of TFRecord files: write format: TFRecord, or remove records",
        holds=lambda data: data.format == "TFRecord" or data.records is None,
        field=".records",
    ),
    Rule(
        cel="!has(self.table) || !has(self.records)",
        message="says where images are in a record, and table that there are none: remove one of them",
        holds=lambda data: data.table is None or data.records is None,
        field=".records",
    ),
    _needs_the_format("uri", "uri"),
    _needs_the_format("validation_uri", "validationUri"),
    _needs_the_format("test_uri", "testUri"),
)
"""What must hold of `data` for records to be read."""
