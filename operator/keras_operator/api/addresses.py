"""Addresses and names: where data, models and Secrets are."""

from .rules import Rule, fully_matches

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PART = r"(?:/[^/\s?#]+)"
_SPELLING = (
    "the bucket is 3 to 63 lower-case letters, digits, '-' or '.', the prefix has no empty part, space, '?' or '#'; "
    "file://, gs://, az://, pvc:// and https:// are not supported yet: copy to S3, or to MinIO and set store.endpoint"
)

S3_FOLDER = fully_matches(
    rf"s3://{_BUCKET}{_PART}*/?", f"must be an S3 address, s3://bucket or s3://bucket/prefix: {_SPELLING}"
)
"""A folder in S3, or a whole bucket."""

S3_PREFIX = fully_matches(
    rf"s3://{_BUCKET}{_PART}+/?",
    f"must be an S3 address with a prefix for this model, s3://bucket/prefix: {_SPELLING}",
)
"""A folder in S3 that is not the root of its bucket."""

HTTP_ENDPOINT = fully_matches(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?/?",
    "must be http:// or https://, a host and perhaps a port, without a path, such as http://minio.minio.svc:9000",
)

SECRET_NAME = fully_matches(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "must be the name of a Secret: lower-case letters, digits, '-' and '.', such as minio-credentials",
)


def does_not_end_in(endings: tuple[str, ...], message: str) -> Rule:
    """An address of a folder, not of a file with one of these endings (RE2 has no lookahead, so no pattern)."""
    return Rule(
        cel=f"!{[*endings]}.exists(ending, self.endsWith(ending))",
        message=message,
        holds=lambda uri: not uri.endswith(endings),
    )
