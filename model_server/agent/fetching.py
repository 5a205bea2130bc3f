"""The agent's side of the store: one fetch, and what its failures mean for a pod."""

from __future__ import annotations

import errno

from model_server.agent.agent import Fetched, FetchFailed
from model_server.agent.options import Options


def fetch_servable(options: Options, number: int) -> Fetched:
    """Bring a version to the models folder, verified, with help of the cache volume if there is one.

    Raises FetchFailed.
    """
    # Imported here, in the fetching thread: boto3 takes a good part of a second, and probes are answered meanwhile.
    import model_store as store  # noqa: PLC0415

    reasons: dict[type[store.StoreError], str] = {
        store.NotFound: "VersionNotPublished",
        store.BucketNotFound: "BucketNotFound",
        store.AccessDenied: "AccessDenied",
        store.Unreachable: "StoreUnreachable",
        store.NoSpace: "DiskFull",
        store.Corrupt: "Corrupt",
        store.StoreUriError: "BadStoreUri",
    }
    try:
        opened = store.open_store(options.store_uri, endpoint=options.endpoint)
        options.base_path.mkdir(parents=True, exist_ok=True)
        cache = None
        if options.cache_dir is not None:
            cache = store.open_cache(options.cache_dir, options.cache_gigabytes)
        manifest = store.fetch(opened, number, options.base_path, cache)
        return Fetched(manifest.bytes, cache.taken if cache else 0)
    except store.StoreError as error:
        reason = next((word for kind, word in reasons.items() if isinstance(error, kind)), "FetchFailed")
        raise FetchFailed(reason, str(error), retryable=error.retryable) from error
    except OSError as error:
        message = f"cannot write below {options.models_dir}: {error}; check the volume"
        raise FetchFailed(
            "DiskFull" if error.errno == errno.ENOSPC else "FetchFailed", message, retryable=False
        ) from error
