"""MinIO's buckets, as somebody with the keys sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

UPLOADS_AT_ONCE = 16


class ObjectStore:
    """One S3 server.

    Args:
        endpoint: its address from this machine.
        access_key: who asks.
        secret_key: the proof.
    """

    def __init__(self, endpoint: str, access_key: str, secret_key: str) -> None:
        self.endpoint = endpoint
        self.access_key = access_key
        self.secret_key = secret_key
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=UPLOADS_AT_ONCE),
        )

    def ensure_bucket(self, bucket: str) -> None:
        """Make a bucket; nothing where it is there."""
        try:
            self._s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise

    def fill(self, bucket: str, prefix: str, files: Mapping[str, bytes]) -> None:
        """Make `prefix` hold exactly these files; what is there already, with the same size, is left alone."""
        there = self.listing(bucket, prefix)
        wanted = {f"{prefix}/{name}": data for name, data in files.items()}
        missing = [key for key, data in wanted.items() if there.get(key) != len(data)]
        for key in there.keys() - wanted.keys():
            self._s3.delete_object(Bucket=bucket, Key=key)
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for done in [pool.submit(self.put, bucket, key, wanted[key]) for key in missing]:
                done.result()

    def listing(self, bucket: str, prefix: str) -> dict[str, int]:
        """Size by key of everything below `prefix`."""
        return {item["Key"]: item["Size"] for item in self._items(bucket, prefix)}

    def checksums(self, bucket: str, prefix: str) -> dict[str, str]:
        """Entity tag and time of writing by key of everything below `prefix`: equal only where nothing was written."""
        return {item["Key"]: f"{item['ETag']} {item['LastModified']}" for item in self._items(bucket, prefix)}

    def copy(self, bucket: str, prefix: str, to: str) -> None:
        """Put a copy of everything below `prefix` below `to`."""
        for key in self.listing(bucket, prefix):
            source = {"Bucket": bucket, "Key": key}
            self._s3.copy_object(Bucket=bucket, Key=to + key.removeprefix(prefix), CopySource=source)

    def read(self, bucket: str, key: str) -> bytes:
        """One object."""
        data: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write one object."""
        self._s3.put_object(Bucket=bucket, Key=key, Body=data)

    def remove(self, bucket: str, key: str) -> None:
        """Delete one object."""
        self._s3.delete_object(Bucket=bucket, Key=key)

    def link(self, bucket: str, key: str) -> str:
        """A URL that gives one object to whoever has it, for an hour."""
        url: str = self._s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        return url

    def _items(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            yield from page.get("Contents", [])
