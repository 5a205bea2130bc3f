"""What can go wrong with a store: one tree, each message a sentence that names the uri and what to do."""

# The names say the state that was met (`except NotFound`), and the tree says that they are errors.
# ruff: noqa: N818

from __future__ import annotations


class StoreError(Exception):
    """Any failure of a store. `retryable` says whether the same call may work later without anybody's help."""

    retryable: bool = False


class StoreUriError(StoreError):
    """A store uri, an endpoint or a key that no store can have; correct it where it was written."""


class NotFound(StoreError):
    """The object, or the published version, is not in the store."""


class BucketNotFound(StoreError):
    """The bucket itself is not there; create it or correct the uri."""


class AccessDenied(StoreError):
    """Credentials are missing, wrong or not allowed to do this, or the clock is too far off for them to count."""


class Unreachable(StoreError):
    """The store did not answer, or answered that it cannot just now. The same call may work later."""

    retryable = True


class AlreadyExists(StoreError):
    """Something else is already stored under this name, and it is never overwritten."""


class Changed(StoreError):
    """An object is another one by now than the one that was asked for by its etag."""


class NumberTaken(AlreadyExists):
    """Another owner has this version number; `next_free` is one above every number the store has seen."""

    def __init__(self, message: str, *, next_free: int) -> None:
        super().__init__(message)
        self.next_free = next_free


class TooLarge(StoreError):
    """An object is larger than the caller is ready to hold in memory."""


class NoSpace(StoreError):
    """A disk is full: the local one, or the one under the store."""


class Corrupt(StoreError):
    """Bytes differ from what their manifest promises; they are never used."""
