"""A model that is trained already: where it lies, and what its numbers mean."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .addresses import S3_FOLDER, does_not_end_in
from .data import FOLDER_OR_ARCHIVE
from .evaluation_table import RULES_OF_ROWS, EvaluationTable
from .labels import Labels
from .records import RECORD_FILES, ImageRecords
from .rules import Rule, ruled
from .target import TargetKind
from .wire import Written

_OTHER_FILES = (".pb", ".zip", ".tar", ".gz", ".tgz", ".onnx", ".tflite", ".json", ".npz", ".pkl", ".weights.h5")

_MODEL = does_not_end_in(
    _OTHER_FILES,
    "must be a whole model: a .h5 or .keras file, or the folder of a SavedModel, the one that holds saved_model.pb; "
    "model.save('model.keras') writes such a file",
)


_FILES = (".h5", ".hdf5", ".keras")
_IS_A_FILE = f"{[*_FILES]}.exists(ending, self.uri.endsWith(ending))"


class EvaluationFormat(StrEnum):
    """How what a source is tested on lies under its address."""

    IMAGE_FOLDER = "ImageFolder"
    TFRECORD = "TFRecord"
    NPZ = "NPZ"
    CSV = "CSV"


_IMAGE_FILES = (EvaluationFormat.IMAGE_FOLDER, EvaluationFormat.TFRECORD)


class EvaluationData(Written, frozen=True, kw_only=True):
    """Images, arrays or rows of a table, with what should be answered, that a source is evaluated on."""

    uri: Annotated[
        str,
        Meta(
            max_length=1024,
            description=(
                "Folder in S3 that holds one folder of images for each class, or one archive of that folder, as in "
                "training.data.uri. The folders are called as in classes; where that is left out, their sorted names "
                "are the model's outputs in their order. Images are resized to what the model takes. With format "
                "TFRecord or CSV: one file, or a folder or archive of such files. With NPZ: one .npz file."
            ),
            examples=["s3://datasets/dogs-test"],
            extra=ruled(*S3_FOLDER, FOLDER_OR_ARCHIVE),
        ),
    ]
    format: Annotated[
        EvaluationFormat,
        Meta(
            description=(
                "How the images lie there; ImageFolder is one folder for each class, TFRecord files of "
                "tf.train.Example, packed by gzip or not, each with one image, as records says. NPZ is x_test, which "
                "the model is given as it stands there, and y_test: whole numbers are outputs' places, from 0, "
                "floats a number that should be answered. CSV is a table with a header line, as table says."
            ),
            examples=["TFRecord"],
        ),
    ] = EvaluationFormat.IMAGE_FOLDER
    records: (
        Annotated[
            ImageRecords,
            Meta(
                description=(
                    "Which features of a record are the image and its class, for format TFRecord. A class that is a "
                    "number is the place in classes, from 0; where those are left out, the sorted numbers are the "
                    "outputs. Left out: image/encoded and image/class/label."
                ),
                examples=[{"image": "image", "label": "label"}],
            ),
        ]
        | None
    ) = None
    labels: (
        Annotated[
            Labels,
            Meta(
                description=(
                    "A table beside the images that says of which class each is, as in training.data.labels. Left out: "
                    "the images' folders are their classes."
                ),
                examples=[{"file": "labels.csv", "fileColumn": "id", "classColumn": "breed"}],
            ),
        ]
        | None
    ) = None
    table: (
        Annotated[
            EvaluationTable,
            Meta(
                description="The columns of a table, for format CSV. Left out: there is none.",
                examples=[{"target": "price", "targetKind": "numeric", "columns": ["area", "rooms"]}],
            ),
        ]
        | None
    ) = None
    max_bad_files: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many unreadable images are left out and reported before the version fails instead.",
            examples=[0],
        ),
    ] = 100

    @property
    def has_images(self) -> bool:
        """Whether it is files of images, wherever they stand."""
        return self.format in _IMAGE_FILES

    @property
    def has_numbers(self) -> bool:
        """Whether a table's target is a number; of arrays, only they themselves know."""
        return self.table is not None and self.table.target_kind is TargetKind.NUMERIC

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # What is no .npz file is a sentence of its own.
            cel=(f"self.format in ['TFRecord', 'NPZ'] || !{[*RECORD_FILES]}.exists(ending, self.uri.endsWith(ending))"),
            message="is a file of records: write format: TFRecord to test on it, or name data of the format",
            holds=lambda data: data.format in {"TFRecord", "NPZ"} or not data.uri.endswith(RECORD_FILES),
            field=".uri",
        ),
        *RULES_OF_ROWS,
        Rule(
            cel="self.format == 'TFRecord' || !has(self.records)",
            message="are features of TFRecord files: write format: TFRecord, or remove records",
            holds=lambda data: data.format == "TFRecord" or data.records is None,
            field=".records",
        ),
        Rule(
            cel="self.format == 'ImageFolder' || !has(self.labels)",
            message="says of which class images are, and format is not ImageFolder: leave it out",
            holds=lambda data: data.format == "ImageFolder" or data.labels is None,
            field=".labels",
        ),
    )


def _tested_elsewhere(source: "Source") -> bool:
    if source.test_data is None:
        return True
    return not (source.test_data.uri.removesuffix("/") + "/").startswith(source.uri.removesuffix("/") + "/")


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
                "files are brought into this range; so are test images for a SavedModel that takes numbers."
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
    tflite: Annotated[
        bool,
        Meta(
            description=(
                "Publish the model as a TFLite file beside the SavedModel, too, as training.tflite does; compared with "
                "the SavedModel on the images of testData or, without any, on generated inputs."
            ),
            examples=[True],
        ),
    ] = False
    test_data: (
        Annotated[
            EvaluationData,
            Meta(
                description=(
                    "Images of known classes that the model is evaluated on before it is published, or arrays or a "
                    "table; gates are judged by that. Of images, the model takes one and gives a probability for each "
                    "class; a SavedModel is asked by a signature that takes images as numbers (serving_default first) "
                    "or else as files. Left out: it is not evaluated."
                ),
                examples=[{"uri": "s3://datasets/dogs-test"}],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.pixelRange) || size(self.pixelRange) != 2 || self.pixelRange[0] < self.pixelRange[1]",
            message="black comes first and must be the smaller number: such as [0, 255]",
            holds=lambda source: source.pixel_range[0] < source.pixel_range[1],
            field=".pixelRange",
        ),
        Rule(
            cel=(
                "!has(self.pixelRange) || self.pixelRange == [0.0, 1.0] || has(self.testData) && "
                f"self.testData.format in {[str(one) for one in _IMAGE_FILES]} || {_IS_A_FILE}"
            ),
            message=(
                "a SavedModel has its own signatures, which decide what images it takes: remove pixelRange, or name a "
                ".h5 or .keras file in source.uri"
            ),
            holds=lambda source: (
                source.uri.endswith(_FILES)
                or (source.test_data is not None and source.test_data.has_images)
                or source.pixel_range == (0.0, 1.0)
            ),
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
        Rule(
            cel=(
                "!has(self.testData) || !(self.testData.uri.endsWith('/') ? self.testData.uri : self.testData.uri + "
                "'/').startsWith(self.uri.endsWith('/') ? self.uri : self.uri + '/')"
            ),
            message=(
                "must not be source.uri or lie below it, or the images would be published with the model: name another "
                "folder"
            ),
            holds=_tested_elsewhere,
            field=".testData.uri",
        ),
    )
