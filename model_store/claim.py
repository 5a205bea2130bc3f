"""Claims: a version number belongs to the first owner who asks for it, for ever."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from model_store.errors import AlreadyExists, NotFound, NumberTaken, TooLarge
from model_store.manifest import run_key
from model_store.store import Store

NUMBER = re.compile(r"[1-9][0-9]*")
LARGEST_CLAIM = 64 * 1024


class Claim(msgspec.Struct, frozen=True, rename="camel"):
    """What `.runs/<number>/claim.json` says. `owner` is the uid of the version object that the run is for."""

    number: int
    owner: str
    created_at: str


def claim(store: Store, number: int, owner: str) -> None:
    """Take version `number` for `owner`, or find that `owner` has it already. Raises NumberTaken otherwise.

    One conditional write decides between owners who ask at the same moment.
    """
    if number < 1:
        raise ValueError(f"a version number is 1 or more, not {number}")
    holder = _holder(store, number)
    if holder is None and number in (taken := _numbers(store)):
        # What is there may be a claim of this very moment: the workers of one run ask together.
        holder = _holder(store, number)
        if holder is None:
            raise _taken(store, number, "files of another origin are there", taken)
    if holder is None:
        ours = Claim(number, owner, datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            store.write(run_key(number, "claim.json"), msgspec.json.encode(ours), only_if_absent=True)
        except AlreadyExists:
            # Somebody was quicker, or this very write arrived although its answer was lost and it was sent again.
            holder = _holder(store, number)
        else:
            return
    if holder != owner:
        raise _taken(store, number, f"{holder or 'somebody'} has claimed it", _numbers(store))


def _holder(store: Store, number: int) -> str | None:
    try:
        data = store.read(run_key(number, "claim.json"), limit=LARGEST_CLAIM)
    except NotFound:
        return None
    except TooLarge:
        return "a claim that cannot be read"
    try:
        return msgspec.json.decode(data, type=Claim).owner
    except msgspec.DecodeError:
        return "a claim that cannot be read"


def _numbers(store: Store) -> set[int]:
    """Every number with a servable folder, a claim or a manifest."""
    return {int(name) for prefix in ("", ".runs") for name in store.folders(prefix) if NUMBER.fullmatch(name)}


def _taken(store: Store, number: int, why: str, taken: set[int]) -> NumberTaken:
    next_free = 1 + max(taken | {number})
    return NumberTaken(
        f"Version {number} under {store.uri} is taken: {why}. The next free number is {next_free}.", next_free=next_free
    )
