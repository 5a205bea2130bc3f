"""The servables in the bucket, for `spec.source` to name."""

from __future__ import annotations

from pathlib import Path

import boto3
from botocore.config import Config

from benchmarks.rollouts.errors import RolloutsError
from model_store import StoreError, open_store


def empty(endpoint: str, bucket: str) -> None:
    """Make the bucket, with nothing in it: a version number that an earlier run published is never given again."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(connect_timeout=5, read_timeout=10)
    )
    try:
        client.create_bucket(Bucket=bucket)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        store = open_store(f"s3://{bucket}", endpoint=endpoint)
        for key in [entry.key for entry in store.list()]:
            store.delete(key)


def bring(endpoint: str, bucket: str, folder: Path) -> None:
    """Upload what is below `folder` to `s3://BUCKET/sources`. Raises RolloutsError if the store does not take it."""
    store = open_store(f"s3://{bucket}/sources", endpoint=endpoint)
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                store.write(str(path.relative_to(folder)), path.read_bytes())
    except StoreError as error:
        raise RolloutsError(str(error)) from error
