"""Weights that a training starts from."""

from typing import Annotated, ClassVar

from msgspec import Meta

from .addresses import S3_FOLDER, does_not_end_in
from .rules import Rule, ruled
from .wire import Written

_OTHER_FILES = (".pb", ".zip", ".tar", ".gz", ".tgz", ".onnx", ".tflite", ".npz", ".pkl", ".ckpt", ".index")

_WEIGHTS = does_not_end_in(
    _OTHER_FILES,
    "must be a .h5, .keras or .weights.h5 file, or the folder of a SavedModel that Keras wrote: "
    "model.save('model.keras') writes such a file",
)


class InitialWeights(Written, frozen=True, kw_only=True):
    """Weights to start from instead of random ones; of the last layer alone where the number of classes is another."""

    uri: (
        Annotated[
            str,
            Meta(
                max_length=1024,
                description=(
                    "A .h5, .keras or .weights.h5 file in S3, also of Keras 2, or the folder of a SavedModel, with the "
                    "weights of the same network. No code in it is run. Left out: version is used."
                ),
                examples=["s3://models/old/dogs.h5"],
                extra=ruled(*S3_FOLDER, _WEIGHTS),
            ),
        ]
        | None
    ) = None
    version: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=2_147_483_647,
                description=(
                    "Number of an earlier, published version of this model that was trained. Left out: uri is used."
                ),
                examples=[3],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.uri) != has(self.version)",
            message=(
                "uri and version are both written or both missing: write uri to start from a file, or version to start "
                "from an earlier version of this model"
            ),
            holds=lambda initial: (initial.uri is None) != (initial.version is None),
        ),
    )
