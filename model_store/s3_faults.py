"""What S3 and botocore say when something is wrong, as this package's errors: a table, then one function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from model_store.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Corrupt,
    NoSpace,
    NotFound,
    StoreError,
    StoreUriError,
    Unreachable,
)

NAMED_BY = "the Secret that spec.store.credentials.secretName names"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request went: the object or folder as a uri, the bucket, and the endpoint as people know it."""

    uri: str
    bucket: str
    endpoint: str


# Error codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; XMinio…: MinIO's cmd/api-errors.go.
# A HEAD answer has no body, so there the code is the HTTP status.
CODES: dict[str, tuple[type[StoreError], str]] = {
    "NoSuchBucket": (
        BucketNotFound,
        "There is no bucket '{bucket}' at {endpoint}, which {uri} asks for; create it, or correct the uri.",
    ),
    "InvalidBucketName": (StoreUriError, "'{bucket}' is not a bucket name that {endpoint} accepts; correct {uri}."),
    "NoSuchKey": (NotFound, "{uri} is not there (at {endpoint})."),
    "404": (NotFound, "{uri} is not there (at {endpoint})."),
    "InvalidAccessKeyId": (
        AccessDenied,
        "{endpoint} does not know the access key id that was used for {uri}; correct AWS_ACCESS_KEY_ID in {secret}.",
    ),
    "SignatureDoesNotMatch": (
        AccessDenied,
        (
            "The secret key used for {uri} does not belong to its access key id at {endpoint}; correct "
            "AWS_SECRET_ACCESS_KEY in {secret} (a line end at the end of the value is the usual cause)."
        ),
    ),
    "ExpiredToken": (
        AccessDenied,
        "The session token used for {uri} has expired; renew AWS_SESSION_TOKEN in {secret}.",
    ),
    "InvalidToken": (
        AccessDenied,
        "{endpoint} does not accept the session token used for {uri}; correct or remove AWS_SESSION_TOKEN in {secret}.",
    ),
    "AccessDenied": (
        AccessDenied,
        (
            "The credentials used for {uri} may not do this at {endpoint}; allow s3:ListBucket on '{bucket}' and "
            "s3:GetObject, s3:PutObject and s3:DeleteObject on what is in it."
        ),
    ),
    "RequestTimeTooSkewed": (
        AccessDenied,
        (
            "{endpoint} refused the request for {uri} because its clock and this machine's are more than 15 minutes "
            "apart; set both by NTP."
        ),
    ),
    "PermanentRedirect": (
        StoreUriError,
        "The bucket '{bucket}' of {uri} is in another region than the one asked; set AWS_REGION in {secret}.",
    ),
    "PreconditionFailed": (AlreadyExists, "{uri} is already there and is not overwritten."),
    "XMinioStorageFull": (NoSpace, "The disk under the store is full: {endpoint} cannot take {uri}; free space there."),
    "KeyTooLongError": (StoreUriError, "The name of {uri} is too long for {endpoint}; shorten it."),
    "BadDigest": (Corrupt, "{uri} was damaged on its way to {endpoint}; try again."),
}
SAME_AS = {
    "403": "AccessDenied",
    "AllAccessDisabled": "AccessDenied",
    "AccountProblem": "AccessDenied",
    "401": "AccessDenied",
    "412": "PreconditionFailed",
    "301": "PermanentRedirect",
    "AuthorizationHeaderMalformed": "PermanentRedirect",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "XMinioInvalidObjectName": "KeyTooLongError",
    "TokenRefreshRequired": "ExpiredToken",
    "RequestExpired": "RequestTimeTooSkewed",
}
# Conflicts of two writers at the same moment, throttling, a proxy's or the server's own trouble: all of it passes.
PASSING = {
    "ConditionalRequestConflict",
    "OperationAborted",
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "TooManyRequests",
}


def explain(error: Exception, place: Place) -> StoreError:
    """The error of this package for what boto3 raised while it worked on `place`."""
    words = {"uri": place.uri, "bucket": place.bucket, "endpoint": place.endpoint, "secret": NAMED_BY}
    match error:
        case S3UploadFailedError() if isinstance(error.__context__, Exception):
            # boto3 hides the answer that made a multipart upload fail behind this one.
            return explain(error.__context__, place)
        case ClientError():
            return _answer(error, words)
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return AccessDenied(
                f"There are no credentials for {place.uri} ({place.endpoint}); "
                f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in {NAMED_BY}."
            )
        case FlexibleChecksumError():
            return Corrupt(
                f"{place.uri} does not have the checksum that {place.endpoint} keeps for it; upload it again."
            )
        case SSLError():
            return Unreachable(
                f"{place.endpoint} could not be trusted or does not speak TLS ({error}); "
                f"use http:// for a store without TLS, or set AWS_CA_BUNDLE to its CA's certificate."
            )
        case ConnectTimeoutError() | ReadTimeoutError():
            return Unreachable(f"{place.endpoint} did not answer in time about {place.uri}; check that it is up.")
        case BotoConnectionError():
            return Unreachable(
                f"{place.endpoint} cannot be reached for {place.uri} ({error}); "
                f"check spec.store.endpoint, that the store is up, and that a NetworkPolicy does not stand between."
            )
        case ResponseParserError():
            return Unreachable(
                f"{place.endpoint} answered about {place.uri} in a way that is not S3; check the endpoint."
            )
        case _:
            return Unreachable(f"The connection to {place.endpoint} broke while {place.uri} was in use ({error}).")


def _answer(error: ClientError, words: dict[str, str]) -> StoreError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    known = CODES.get(SAME_AS.get(code, code))
    if known is None and status == 403:
        known = CODES["AccessDenied"]
    if known is not None:
        kind, sentence = known
        return kind(sentence.format(**words))
    said = f"{words['endpoint']} answered {code or 'an error'} (HTTP {status}) about {words['uri']}"
    if status >= 500 or status == 429 or code in PASSING:
        return Unreachable(f"{said}; it usually passes.")
    return StoreError(f"{said}: {error.response.get('Error', {}).get('Message', 'no message')}")


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Raise this package's errors in place of boto3's."""
    try:
        yield
    except (BotoCoreError, ClientError, S3UploadFailedError, ResponseParserError) as error:
        raise explain(error, place) from error
