"""Many small objects of S3: read by obstore, three times as many a second as boto3 reads.

boto3 spends a millisecond of the interpreter on each request, whatever the number of threads; obstore sends, checks and
receives in Rust. It only ever brings bytes: whatever it cannot do, boto3 is asked for, whose errors have their words.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import boto3
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from model_store import Store
from model_trainer.data.stand_in import StandIn

log = logging.getLogger(__name__)

# After so many objects that obstore could not bring it is not asked any more: an authority or a proxy that only boto3
# knows, for example. Each of them has cost one request that failed.
MOST_FAILURES = 3


def quick_reads(store: Store, endpoint: str | None) -> Store:
    """`store`, of which small objects are read quicker where it is S3; `endpoint` is what it was opened with."""
    parts = urlsplit(store.uri)
    if parts.scheme != "s3":
        return store
    session = boto3.Session()
    if session.get_credentials() is None:
        return store
    client = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        endpoint=endpoint,
        region=session.region_name or "us-east-1",
        credential_provider=Boto3CredentialProvider(session),
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "60s"},
        # What fails is asked for once more, by boto3, which waits and tries as is usual.
        retry_config={"max_retries": 0},
    )
    return _Quick(store, client)


class _Quick(StandIn):
    """A store whose `read` is another client's, as long as that one can."""

    def __init__(self, store: Store, client: S3Store) -> None:
        super().__init__(store)
        self._client = client
        self._failures = 0

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        if self._failures < MOST_FAILURES:
            try:
                found = obstore.get(self._client, key, options={"if_match": f'"{etag}"'} if etag else None)
                if found.meta["size"] <= limit:
                    return bytes(found.bytes())
            except (FileNotFoundError, PreconditionError):
                pass  # boto3 says whether the object or the bucket is missing, or the object is another one
            except (BaseError, OSError, ValueError) as error:
                self._failures += 1
                log.info("%s/%s is read by boto3: %s", self.uri, key, str(error).partition("\n")[0][:300])
        return self._store.read(key, limit=limit, etag=etag)
