"""The data in the bucket: exactly the images that are not held out, one folder a class, sent only where they differ."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.demo.digits import Digit
from benchmarks.demo.errors import DemoError
from benchmarks.demo.surroundings import Surroundings
from model_store import Store, StoreError, open_store

DATA_URI = "s3://datasets/digits"
STORE_URI = "s3://models/digits"
AT_ONCE = 8


@dataclass(frozen=True)
class Sync:
    """What was done: images in the bucket now, those sent, and objects removed."""

    images: int
    sent: int
    removed: int


def use_credentials(cluster: Surroundings) -> None:
    """Let this process use the cluster's object storage, as a pod with the Secret would."""
    os.environ["AWS_ACCESS_KEY_ID"] = cluster.s3_access_key
    os.environ["AWS_SECRET_ACCESS_KEY"] = cluster.s3_secret_key
    os.environ.pop("AWS_SESSION_TOKEN", None)


def make_buckets(endpoint: str) -> None:
    """Create the buckets of the data and of the models where they are missing."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(connect_timeout=5, read_timeout=10)
    )
    for uri in (DATA_URI, STORE_URI):
        bucket = uri.split("/")[2]
        try:
            client.create_bucket(Bucket=bucket)
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            continue
        except (BotoCoreError, ClientError) as error:
            raise DemoError(f"The bucket '{bucket}' cannot be created at {endpoint}: {error}.") from error


def images(digits: Iterable[Digit]) -> dict[str, bytes]:
    """Keys and bytes of the images below DATA_URI: `<label>/<name>.png`."""
    return {f"{digit.label}/{digit.name}.png": digit.png() for digit in digits}


def sync_images(endpoint: str, wanted: Mapping[str, bytes]) -> Sync:
    """Make DATA_URI hold `wanted` and nothing else. Raises DemoError if the object storage does not take it."""
    try:
        store = open_store(DATA_URI, endpoint=endpoint)
        there = {entry.key: entry.etag for entry in store.list()}
        # MinIO's and S3's etag of an object that was sent in one piece is its MD5.
        missing = [key for key, data in wanted.items() if there.get(key) != _md5(data)]
        others = [key for key in there if key not in wanted]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda key: store.write(key, wanted[key]), missing))
            list(pool.map(store.delete, others))
    except StoreError as error:
        raise DemoError(str(error)) from error
    return Sync(len(wanted), len(missing), len(others))


def empty_model_store(endpoint: str) -> None:
    """Remove what an earlier demo published, whose version numbers its model would otherwise never be given again."""
    try:
        store: Store = open_store(STORE_URI, endpoint=endpoint)
        for key in [entry.key for entry in store.list()]:
            store.delete(key)
    except StoreError as error:
        raise DemoError(str(error)) from error


def keep_held_out(digits: Iterable[Digit], folder: Path) -> None:
    """Write held-out images to a local folder, so that a person can send one with curl."""
    for key, data in images(digits).items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
