"""Addresses and names: where data, models and Secrets are."""

import re

from .rules import Rule, fully_matches

# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
# The longest name of a file of a run, and room for the folders of a SavedModel, within the 1,024 bytes of a key.
_LONGEST_PREFIX = 700
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"


def _is_s3(uri: str) -> bool:
    return uri.startswith("s3://")


def _bucket(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[0]


def _bucket_holds(uri: str) -> bool:
    bucket = _bucket(uri)
    return not _is_s3(uri) or bool(_BUCKET.fullmatch(bucket) and ".." not in bucket and not _DOTTED.fullmatch(bucket))


def _prefix_holds(uri: str) -> bool:
    parts = uri.removeprefix("s3://").removesuffix("/").split("/")[1:]
    spelt = not any(re.search(r"[\x00-\x20\x7f?#]", part) or part in {"", ".", ".."} for part in parts)
    return not _is_s3(uri) or spelt


_S3 = Rule(
    cel="self.startsWith('s3://')",
    message=(
        "must be an address in S3, such as s3://models/dogs: gs://, az://, pvc://, file:// and https:// are not "
        "supported yet, so copy to S3, or to MinIO and set store.endpoint"
    ),
    holds=_is_s3,
)
_S3_BUCKET = Rule(
    cel=(
        "!self.startsWith('s3://') || self.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/|$)') && "
        r"!self.matches('^s3://(?:[^/]*[.][.]|[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+(?:/|$))')"
    ),
    message=(
        "the bucket, which stands between s3:// and the next '/', must be 3 to 63 lower-case letters, digits, '-' or "
        "single '.', start and end with a letter or digit, and not look like an IP address: such as s3://models/dogs"
    ),
    holds=_bucket_holds,
)
_S3_PREFIX = Rule(
    cel=(
        r"!self.startsWith('s3://') || self.matches('^s3://[^/]*(?:/[^/?#\\x00-\\x20\\x7f]+)*/?$') && "
        r"!self.matches('/[.][.]?(?:/|$)')"
    ),
    message=(
        "what follows the bucket must have no space, '?', '#' or control character, and no part that is empty, '.' or "
        "'..': such as s3://models/teams/dogs"
    ),
    holds=_prefix_holds,
)

S3_FOLDER = (_S3, _S3_BUCKET, _S3_PREFIX)
"""A folder in S3, or a whole bucket."""

S3_OWN_FOLDER = (
    *S3_FOLDER,
    Rule(
        cel="!self.startsWith('s3://') || self.matches('^s3://[^/]*/[^/]')",
        message="must name a folder for this model in the bucket, not the whole bucket: such as s3://models/dogs",
        holds=lambda uri: not _is_s3(uri) or uri.removeprefix("s3://").partition("/")[2].strip("/") != "",
    ),
    Rule(
        cel=f"size(bytes(self)) <= {_LONGEST_PREFIX}",
        message=(
            f"must have at most {_LONGEST_PREFIX} bytes, because the names of published files are put after it: "
            "write a shorter one"
        ),
        holds=lambda uri: len(uri.encode()) <= _LONGEST_PREFIX,
    ),
)
"""A folder in S3 that is not the root of its bucket, with room for the files below it."""


HTTP_ENDPOINT = (
    fully_matches(
        rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::{_PORT})?/?",
        "must be http:// or https://, a host and perhaps a port up to 65535, without a path: such as "
        "http://minio.minio.svc:9000",
    ),
    Rule(
        # Only the API server refuses it: a run without a cluster reaches this machine's own MinIO there.
        cel=r"!self.matches('^https?://(?:(?i:localhost)|127[.][0-9.]+|\\[::1\\])(?::|/|$)')",
        message=(
            "must not be the pod itself, which is what localhost means there: name a Service, such as "
            "http://minio.minio.svc:9000"
        ),
    ),
)

SECRET_NAME = fully_matches(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*",
    "must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or "
    "digit, such as minio-credentials",
)


def does_not_end_in(endings: tuple[str, ...], message: str) -> Rule:
    """An address of a folder, not of a file with one of these endings (RE2 has no lookahead, so no pattern)."""
    return Rule(
        cel=f"!{[*endings]}.exists(ending, self.endsWith(ending))",
        message=message,
        holds=lambda uri: not uri.endswith(endings),
    )
