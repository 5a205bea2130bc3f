"""Addresses and names: where data, models and Secrets are."""

from typing import Annotated

from msgspec import Meta

from .rules import Rule, fully_matches, ruled

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PREFIX = r"(?:/[^/\s?#]+)"
_FORM = (
    "must look like s3://bucket/prefix: the bucket is 3 to 63 lower-case letters, digits, '-' or '.', "
    "the prefix has no empty part, space, '?' or '#'"
)
_IN_S3 = Rule(
    cel="self.startsWith('s3://')",
    message=(
        "must be an S3 address such as s3://bucket/prefix; other stores (file://, gs://, az://, pvc://, https://) are "
        "not supported: copy the files to S3 or to anything that speaks its protocol, such as MinIO, and set "
        "store.endpoint"
    ),
    holds=lambda uri: uri.startswith("s3://"),
)


def _s3(pattern: str, message: str) -> Rule:
    """A rule that speaks only about S3 addresses, so that `gs://…` gets one sentence and not two."""
    rule = fully_matches(pattern, message)
    holds = rule.holds
    assert holds is not None
    return Rule(
        cel=f"!self.startsWith('s3://') || {rule.cel}",
        message=message,
        holds=lambda uri: not uri.startswith("s3://") or holds(uri),
    )


S3_FOLDER = (_IN_S3, _s3(rf"s3://{_BUCKET}{_PREFIX}*/?", _FORM))
"""Rules for a folder or a whole bucket in S3."""
S3_PREFIX = (
    _IN_S3,
    _s3(rf"s3://{_BUCKET}{_PREFIX}+/?", f"{_FORM}; a bucket alone is not enough, add a prefix for this model"),
)
"""Rules for a folder in S3 that is not the root of its bucket."""

HTTP_ENDPOINT = fully_matches(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?/?",
    "must be http:// or https://, a host and perhaps a port, without a path, such as http://minio.minio.svc:9000",
)

SecretName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        extra=ruled(
            fully_matches(
                r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
                "must be the name of a Secret: lower-case letters, digits, '-' and '.', such as minio-credentials",
            )
        ),
    ),
]
"""The name of a Secret in the model's namespace."""
