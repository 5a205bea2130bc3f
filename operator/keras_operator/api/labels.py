"""Classes of images from a table beside them."""

import re
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written

_LABELS_FILE = Rule(
    cel="self.matches('^[^/].*[.]csv$') && !self.matches('(?:^|/)[.]{0,2}(?:/|$)')",
    message="must be the path of a .csv file below the data's uri, without '.' or '..': such as labels.csv",
    holds=lambda path: (
        re.fullmatch(r"[^/].*[.]csv", path) is not None and not any(part in {"", ".", ".."} for part in path.split("/"))
    ),
)


class Labels(Written, frozen=True, kw_only=True):
    """A table that says of which class each image is."""

    file: Annotated[
        str,
        Meta(
            max_length=512,
            description="Path of the table (CSV with a header line, UTF-8) below the uri, beside the images.",
            examples=["labels.csv"],
            extra=ruled(_LABELS_FILE),
        ),
    ] = "labels.csv"
    file_column: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description=(
                "Column that names the image: its path below the uri or its bare name, with or without the extension."
            ),
            examples=["id"],
        ),
    ] = "file"
    class_column: Annotated[
        str,
        Meta(min_length=1, max_length=256, description="Column that names the image's class.", examples=["breed"]),
    ] = "class"

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.fileColumn != self.classColumn",
            message="fileColumn and classColumn must be two columns, or there is nothing to learn: correct one of them",
            holds=lambda labels: labels.file_column != labels.class_column,
        ),
    )
