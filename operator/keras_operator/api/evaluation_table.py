"""A table that a model which is trained already is tested on: what it should answer, and what it is given."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from .rules import Rule
from .table import TABLE_FILES, is_table_file
from .target import TargetKind
from .wire import Written

if TYPE_CHECKING:
    from .source import EvaluationData


class EvaluationTable(Written, frozen=True, kw_only=True):
    """The columns of a table to test on; the names are those of its header line."""

    target: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description=(
                "Column that holds what the model should answer: a class by its name or, where the names are in "
                "source.classes, by its place there, from 0; or a number if targetKind is numeric."
            ),
            examples=["species"],
        ),
    ]
    target_kind: Annotated[
        TargetKind,
        Meta(
            description="categorical: the model answers a probability for each class. numeric: it answers one number.",
            examples=["numeric"],
        ),
    ] = TargetKind.CATEGORICAL
    columns: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...],
        Meta(
            max_length=256,
            description=(
                "Columns that the model is given, as they stand there. In the order of its input where it has one; "
                "those of its inputs' names where it has several. Left out: the columns that its inputs are called by "
                "or, of one input, all but the target in their order."
            ),
            examples=[["age", "income"]],
        ),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.columns) || !(self.target in self.columns)",
            message="names the target, which is what the model should answer: remove it there, or correct target",
            holds=lambda table: table.target not in table.columns,
            field=".columns",
        ),
    )


def _arrays_are_one_file(data: "EvaluationData") -> bool:
    return data.format != "NPZ" or data.uri.endswith(".npz")


RULES_OF_ROWS = (
    Rule(
        # An .npz that is none is a sentence of its own.
        cel=f"self.format in ['CSV', 'NPZ'] || !{[*TABLE_FILES]}.exists(ending, self.uri.endsWith(ending))",
        message=(
            "is a table: write format: CSV and table: {target: …} to test on it; where it says the classes of images, "
            "name the folder of the images here, and the table in labels.file"
        ),
        holds=lambda data: data.format in {"CSV", "NPZ"} or not is_table_file(data.uri),
        field=".uri",
    ),
    Rule(
        cel="self.format == 'NPZ' || !self.uri.endsWith('.npz')",
        message="is a file of arrays: write format: NPZ to test on it, or name data of the format",
        holds=lambda data: data.format == "NPZ" or not data.uri.endswith(".npz"),
        field=".uri",
    ),
    Rule(
        cel="self.format != 'NPZ' || self.uri.endsWith('.npz')",
        message="must be one .npz file, for format is NPZ: such as s3://datasets/digits.npz",
        holds=_arrays_are_one_file,
        field=".uri",
    ),
    Rule(
        cel="self.format != 'CSV' || has(self.table)",
        message="is missing, and format is CSV: write table: {target: …} with the column of what should be answered",
        holds=lambda data: data.format != "CSV" or data.table is not None,
        field=".table",
    ),
    Rule(
        cel="self.format == 'CSV' || !has(self.table)",
        message="is for tables: write format: CSV, or remove table",
        holds=lambda data: data.format == "CSV" or data.table is None,
        field=".table",
    ),
    Rule(
        cel="!(self.format in ['CSV', 'NPZ']) || self.maxBadFiles == 100",
        message=(
            "counts unreadable images (what cannot be used of a table or an array always ends the run), and the data "
            "is no files of images: leave it out"
        ),
        holds=lambda data: data.format not in {"CSV", "NPZ"} or data.max_bad_files == 100,
        field=".maxBadFiles",
    ),
)
"""What must hold of test data for arrays or a table to be tested on, and for each field to make a difference."""
