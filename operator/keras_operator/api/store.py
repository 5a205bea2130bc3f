"""Where versions are published."""

from typing import Annotated

from msgspec import Meta

from .addresses import HTTP_ENDPOINT, S3_OWN_FOLDER, SECRET_NAME
from .rules import Rule, ruled
from .wire import Written

_NEVER_MOVES = Rule(
    cel="self == oldSelf",
    message="cannot be changed, because published versions live there: make a new KerasModel for another store",
)


class Credentials(Written, frozen=True, kw_only=True):
    """How to get at the store."""

    secret_name: Annotated[
        str,
        Meta(
            max_length=253,
            description=(
                "Secret in the model's namespace with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps "
                "AWS_SESSION_TOKEN."
            ),
            examples=["minio-credentials"],
            extra=ruled(SECRET_NAME),
        ),
    ]


class Store(Written, frozen=True, kw_only=True):
    """Where versions are published, and how to get there; the data is read with the same endpoint and credentials."""

    uri: Annotated[
        str,
        Meta(
            max_length=1024,
            description=(
                "Folder in S3 that belongs to this model; version 3 lands in <uri>/3/. It cannot be changed later, "
                "because published versions live there."
            ),
            examples=["s3://models/dog-classifier"],
            extra=ruled(*S3_OWN_FOLDER, _NEVER_MOVES),
        ),
    ]
    endpoint: (
        Annotated[
            str,
            Meta(
                max_length=512,
                description="Address of an S3 server that is not AWS, such as MinIO, as pods reach it. Left out: AWS.",
                examples=["http://minio.minio.svc:9000"],
                extra=ruled(*HTTP_ENDPOINT),
            ),
        ]
        | None
    ) = None
    credentials: (
        Annotated[
            Credentials,
            Meta(
                description="Keys for the store. Left out: the pod's own cloud identity.",
                examples=[{"secretName": "minio-credentials"}],
            ),
        ]
        | None
    ) = None
