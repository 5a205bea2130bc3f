"""A model that is trained already: where it lies, and what its numbers mean."""

from typing import Annotated, ClassVar

from msgspec import Meta

from .addresses import S3_FOLDER, does_not_end_in
from .rules import Rule, ruled
from .wire import Written

_OTHER_FILES = (".pb", ".zip", ".tar", ".gz", ".tgz", ".onnx", ".tflite", ".json", ".npz", ".pkl", ".weights.h5")

_MODEL = does_not_end_in(
    _OTHER_FILES,
    "must be a whole model: a .h5 or .keras file, or the folder of a SavedModel, the one that holds saved_model.pb; "
    "model.save('model.keras') writes such a file",
)


_FILES = (".h5", ".hdf5", ".keras")
_IS_A_FILE = f"{[*_FILES]}.exists(ending, self.uri.endsWith(ending))"


class Source(Written, frozen=True, kw_only=True):
    """A model that is trained already; a change here makes a new version."""

    uri: Annotated[
        str,
        Meta(
            max_length=1024,
            description=(
                "A .h5 or .keras file in S3, or the folder of a TensorFlow SavedModel (saved_model.pb and variables/). "
                "Files of Keras 2 are read too."
            ),
            examples=["s3://models/uploads/dogs.h5"],
            extra=ruled(*S3_FOLDER, _MODEL),
        ),
    ]
    classes: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            max_length=1000,
            description=(
                "Names of the classes, in the order of the model's outputs; published beside the version. Left out: no "
                "names."
            ),
            examples=[["beagle", "corgi", "poodle"]],
        ),
    ] = ()
    pixel_range: Annotated[
        tuple[float, float],
        Meta(
            description=(
                "What a .h5 or .keras model takes for black and for white: [0, 1] after rescale=1/255, [0, 255] where "
                "it takes pixels as they are in a file, [-1, 1] for MobileNetV2 and others. Images that are sent as "
                "files are brought into this range."
            ),
            examples=[[0, 255]],
        ),
    ] = (0.0, 1.0)
    allow_code: Annotated[
        bool,
        Meta(
            description=(
                "Run Python code that a .h5 or .keras file brings along (Lambda layers). It runs with the keys of the "
                "store, so only for files of people whom you trust."
            ),
            examples=[True],
        ),
    ] = False

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.pixelRange) || size(self.pixelRange) != 2 || self.pixelRange[0] < self.pixelRange[1]",
            message="black comes first and must be the smaller number: such as [0, 255]",
            holds=lambda source: source.pixel_range[0] < source.pixel_range[1],
            field=".pixelRange",
        ),
        Rule(
            cel=f"!has(self.pixelRange) || self.pixelRange == [0.0, 1.0] || {_IS_A_FILE}",
            message=(
                "a SavedModel has its own signatures, which decide what images it takes: remove pixelRange, or name a "
                ".h5 or .keras file in source.uri"
            ),
            holds=lambda source: source.uri.endswith(_FILES) or source.pixel_range == (0.0, 1.0),
            field=".pixelRange",
        ),
        Rule(
            cel=f"!has(self.allowCode) || !self.allowCode || {_IS_A_FILE}",
            message=(
                "the graph of a SavedModel brings no Python code: remove allowCode, or name a .h5 or .keras file in "
                "source.uri"
            ),
            holds=lambda source: source.uri.endswith(_FILES) or not source.allow_code,
            field=".allowCode",
        ),
    )
