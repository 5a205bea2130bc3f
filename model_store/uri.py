"""Store uris: `s3://bucket/prefix` and `file:///absolute/folder`, and the store that each one opens."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from model_store.errors import StoreUriError
from model_store.keys import key_fault
from model_store.local import LocalStore
from model_store.s3 import S3Store
from model_store.store import Store

EXAMPLES = "write s3://bucket/prefix, or file:///absolute/folder"
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(uri: str, *, endpoint: str | None = None) -> Store:
    """Open the store rooted at `uri`, without a request to it.

    `endpoint` (`http://host:port`) is where an s3 store other than AWS answers; a file store has no use for it.
    Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from what else boto3 finds.
    Raises StoreUriError.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        raise StoreUriError(f"The store uri {uri!r} has no scheme; {EXAMPLES}.")
    match scheme:
        case "s3":
            return _open_s3(uri, rest, endpoint)
        case "file":
            return _open_folder(uri, rest)
        case _:
            raise StoreUriError(f"The store uri {uri!r} begins with '{scheme}://', which is not supported; {EXAMPLES}.")


def _open_s3(uri: str, rest: str, endpoint: str | None) -> Store:
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if not BUCKET.fullmatch(bucket):
        raise StoreUriError(
            f"The store uri {uri!r} names the bucket {bucket!r}; a bucket has 3 to 63 lower-case letters, digits, "
            f"dots and hyphens ({EXAMPLES})."
        )
    if prefix and (fault := key_fault(prefix)):
        raise StoreUriError(f"The prefix {prefix!r} of the store uri {uri!r} {fault}; {EXAMPLES}.")
    if endpoint is not None:
        _check_endpoint(endpoint)
    return S3Store(bucket, prefix, endpoint)


def _open_folder(uri: str, rest: str) -> Store:
    path = unquote(rest).rstrip("/")
    if not path.startswith("/"):
        raise StoreUriError(f"The store uri {uri!r} names no absolute folder below '/'; {EXAMPLES}.")
    if fault := key_fault(path[1:]):
        raise StoreUriError(f"The folder of the store uri {uri!r} {fault}; {EXAMPLES}.")
    return LocalStore(Path(path))


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise StoreUriError(
            f"The store endpoint {endpoint!r} is no http url with a host; write something like http://minio:9000."
        )
