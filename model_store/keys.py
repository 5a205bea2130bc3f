"""Keys: the names of objects relative to a store's root, checked before they become a path or a request.

A key is `/`-separated, relative, without empty, `.` or `..` parts and without control characters, and valid UTF-8.
So a key can neither leave the root of a local store nor the folder that a fetch writes to, whoever wrote it.
"""

from __future__ import annotations

from model_store.errors import StoreUriError

# S3's own limit, in bytes of UTF-8 (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
LONGEST_KEY = 1024


def key_fault(key: str) -> str | None:
    """Say what is wrong with `key` as the end of a sentence, or None when it is a good key."""
    if not key:
        return "is empty"
    if key.startswith("/"):
        return "is an absolute path"
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in key):
        return "holds a control character"
    if "" in (parts := key.split("/")):
        return "has an empty part"
    if "." in parts or ".." in parts:
        return "has a part '.' or '..', which could lead out of the folder"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    return f"is {length} bytes long, and {LONGEST_KEY} are allowed" if length > LONGEST_KEY else None


def check_key(key: str, where: str) -> None:
    """Raise StoreUriError unless `key` is a good key; `where` is the uri of the store it was meant for."""
    if fault := key_fault(key):
        raise StoreUriError(f"The name {key!r} {fault}, so it is not used in {where}; rename that file.")
