"""Where trained and published models live: s3 buckets and local folders behind one small interface.

A version is published by writing its manifest last, and is fetched only as the manifest says. Start with `open_store`,
then `claim` and `publish` on the writing side, `read_manifest` and `fetch` on the reading side.
"""

from model_store.cache_folder import CacheFolder
from model_store.claim import claim
from model_store.content_cache import ContentCache, open_cache
from model_store.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    Corrupt,
    NoSpace,
    NotFound,
    NumberTaken,
    StoreError,
    StoreUriError,
    TooLarge,
    Unreachable,
)
from model_store.fetch import fetch, fetch_described
from model_store.manifest import Manifest, ManifestFile, read_manifest, run_key
from model_store.object_cache import ObjectCache
from model_store.publish import make_visible, publish, upload, withdraw
from model_store.store import Entry, Store
from model_store.uri import open_store

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "BucketNotFound",
    "CacheFolder",
    "Changed",
    "ContentCache",
    "Corrupt",
    "Entry",
    "Manifest",
    "ManifestFile",
    "NoSpace",
    "NotFound",
    "NumberTaken",
    "ObjectCache",
    "Store",
    "StoreError",
    "StoreUriError",
    "TooLarge",
    "Unreachable",
    "claim",
    "fetch",
    "fetch_described",
    "make_visible",
    "open_cache",
    "open_store",
    "publish",
    "read_manifest",
    "run_key",
    "upload",
    "withdraw",
]
