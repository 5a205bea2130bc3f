"""S3 and what speaks its protocol (MinIO, Ceph, GCS in interoperability mode) as a store, through boto3."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from model_store.disk import sha256_of, write_hashed
from model_store.errors import AlreadyExists, Changed, Corrupt, StoreUriError, TooLarge, Unreachable
from model_store.keys import check_key
from model_store.s3_faults import Place, explained
from model_store.store import Entry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

CHUNK = 1024 * 1024
# boto3 splits a file above 16 MiB into parts and sends 4 at a time; with FILES_AT_ONCE files in the hands of publish
# that is at most 16 connections and, as boto3 streams each part from the disk, no more than a few MiB of memory.
TRANSFER = TransferConfig(multipart_threshold=16 * CHUNK, multipart_chunksize=16 * CHUNK, max_concurrency=4)
# A store that is down is seen within seconds; one that is slow may take a minute for a chunk. Three attempts are for a
# single lost packet: longer waits belong to the caller, who can say that it waits (`StoreError.retryable`).
CLIENT = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
)
# What is read at once is small (a manifest, a claim, an image) and begins to come soon, whereas a listing may take a
# minute. So a store that takes connections and says nothing is told of within a minute, not after three.
SMALL = CLIENT.merge(Config(read_timeout=15))
# How often one download may pick up a broken stream where it stopped.
RESUMES = 5
SHA256 = "sha256"


class S3Store:
    """Objects under `prefix` of one bucket. `endpoint` is None for AWS itself. Makes no request when created."""

    def __init__(self, bucket: str, prefix: str, endpoint: str | None) -> None:
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint or "Amazon S3"
        # Buckets of a store that is not AWS rarely have a host name each, hence path style.
        style = Config() if endpoint is None else Config(s3={"addressing_style": "path"})
        # A session of its own: credentials in files are read again, as somebody may have corrected them.
        session = Session()
        session.register_component("data_loader", _service_descriptions())
        region = session.get_config_variable("region") or "us-east-1"

        def client(config: Config) -> S3Client:
            made = session.create_client("s3", endpoint_url=endpoint, region_name=region, config=config.merge(style))
            return cast("S3Client", made)

        try:
            self._client, self._small = client(CLIENT), client(SMALL)
        except ValueError as error:
            raise StoreUriError(f"The endpoint {endpoint!r} of {self.uri} is no url: {error}.") from error

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See Store.list. Objects whose key ends in `/` are folder markers of some tools and are left out."""
        pages = self._client.get_paginator("list_objects_v2")
        with explained(self._place(prefix)):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._folder(prefix)):
                for found in page.get("Contents", []):
                    if not found["Key"].endswith("/"):
                        key = found["Key"].removeprefix(self._root)
                        yield Entry(key, found["Size"], found["ETag"].strip('"'))

    def folders(self, prefix: str = "") -> Iterator[str]:
        """See Store.folders."""
        folder = self._folder(prefix)
        pages = self._client.get_paginator("list_objects_v2")
        with explained(self._place(prefix)):
            for page in pages.paginate(Bucket=self._bucket, Prefix=folder, Delimiter="/"):
                for found in page.get("CommonPrefixes", []):
                    yield found["Prefix"].removeprefix(folder).rstrip("/")

    def entry(self, key: str) -> Entry:
        """See Store.entry. One HEAD request, which whoever may read the object may make; it knows no missing bucket."""
        with explained(self._place(key)):
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        return Entry(key, head["ContentLength"], head["ETag"].strip('"'))

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        """See Store.read."""
        with explained(self._place(key)):
            answer = self._get(self._small, key, etag)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > limit:
                    size = answer["ContentLength"]
                    raise TooLarge(
                        f"{self.uri}/{key} is {size:,} bytes, more than the {limit:,} that are read at once."
                    )
                return body.read()

    def write(self, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        """See Store.write."""
        with explained(self._place(key)):
            if only_if_absent:
                self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, IfNoneMatch="*")
            else:
                self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data)

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        """See Store.download. A broken stream is taken up again where it stopped."""
        with explained(self._place(key)):
            answer = self._get(self._client, key, etag)
            if limit is not None and answer["ContentLength"] > limit:
                answer["Body"].close()
                size = answer["ContentLength"]
                raise TooLarge(f"{self.uri}/{key} is {size:,} bytes, more than the {limit:,} that are fetched.")
            return write_hashed(self._chunks(key, answer), path, size=answer["ContentLength"])

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """See Store.upload. The hash is kept as object metadata."""
        extra = {"Metadata": {SHA256: sha256 or sha256_of(path)}}
        transfers = S3Transfer(self._client, TRANSFER)  # type: ignore[arg-type]  # a mistake in the stubs
        with explained(self._place(key)), transfers as transfer:
            transfer.upload_file(str(path), self._bucket, self._key(key), extra_args=extra)

    def holds(self, key: str, *, size: int, sha256: str) -> bool:
        """See Store.holds. One HEAD request; an object without the metadata counts as another one."""
        with explained(self._place(key)):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return False
                raise
        return head["ContentLength"] == size and head["Metadata"].get(SHA256) == sha256

    def exists(self, key: str) -> bool:
        """See Store.exists. A listing, because a HEAD answer cannot tell a missing bucket from a missing object."""
        wanted = self._key(key)
        with explained(self._place(key)):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=wanted, MaxKeys=1)
        return any(found["Key"] == wanted for found in page.get("Contents", []))

    def delete(self, key: str) -> None:
        """See Store.delete."""
        with explained(self._place(key)):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def _get(self, client: S3Client, key: str, etag: str | None) -> GetObjectOutputTypeDef:
        if etag is None:
            return client.get_object(Bucket=self._bucket, Key=self._key(key))
        try:
            with explained(self._place(key)):
                return client.get_object(Bucket=self._bucket, Key=self._key(key), IfMatch=f'"{etag}"')
        except AlreadyExists as error:
            raise Changed(f"{self.uri}/{key} was replaced since it was listed.") from error

    def _chunks(self, key: str, answer: GetObjectOutputTypeDef) -> Iterator[bytes]:
        """The object's bytes. Each further request asks for the rest, and for the very same object (IfMatch)."""
        size, etag, done = answer["ContentLength"], answer["ETag"], 0
        for resume in range(RESUMES + 1):
            try:
                with explained(self._place(key)):
                    if resume:
                        answer = self._client.get_object(
                            Bucket=self._bucket, Key=self._key(key), Range=f"bytes={done}-", IfMatch=etag
                        )
                    with closing(answer["Body"]) as body:
                        for chunk in body.iter_chunks(CHUNK):
                            done += len(chunk)
                            yield chunk
            except Unreachable:
                if resume == RESUMES:
                    raise
            except AlreadyExists as error:
                raise Corrupt(f"{self.uri}/{key} was replaced while it was being read; read it again.") from error
            if done == size:
                return

    def _place(self, key: str) -> Place:
        return Place(f"{self.uri}/{key}".rstrip("/"), self._bucket, self._endpoint)

    def _key(self, key: str) -> str:
        check_key(key, self.uri)
        return self._root + key

    def _folder(self, prefix: str) -> str:
        prefix = prefix.rstrip("/")
        return f"{self._key(prefix)}/" if prefix else self._root


@functools.cache
def _service_descriptions() -> Any:
    """botocore's own files about S3, read once in a process: they take 50 ms of a processor that others may need."""
    return Session().get_component("data_loader")
