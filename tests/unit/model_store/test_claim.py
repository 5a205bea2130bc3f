"""Claims: a version number is given away once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store import NumberTaken, Store, claim, publish


def test_the_owner_of_a_number_may_claim_it_again(store: Store) -> None:
    claim(store, 1, "uid-a")
    claim(store, 1, "uid-a")


def test_another_owner_is_told_the_next_free_number(store: Store) -> None:
    claim(store, 1, "uid-a")
    with pytest.raises(NumberTaken, match=r"Version 1 .* uid-a has claimed it.* next free number is 2") as caught:
        claim(store, 1, "uid-b")
    assert caught.value.next_free == 2


def test_a_published_number_stays_with_its_owner(store: Store, tmp_path: Path) -> None:
    claim(store, 1, "uid-a")
    (tmp_path / "servable").mkdir()
    (tmp_path / "servable" / "saved_model.pb").write_bytes(b"graph")
    publish(store, 1, tmp_path / "servable", {})
    claim(store, 1, "uid-a")
    with pytest.raises(NumberTaken):
        claim(store, 1, "uid-b")


@pytest.mark.parametrize("key", ["7/saved_model.pb", ".runs/7/claim.json", ".runs/7/manifest.json"])
def test_the_next_free_number_is_above_everything_the_store_has_seen(store: Store, key: str) -> None:
    claim(store, 1, "uid-a")
    store.write(key, b"{}")
    for other in ("tmp/x", "007/x", "9.5/x", "12", "-8/x"):
        store.write(other, b"")
    with pytest.raises(NumberTaken) as caught:
        claim(store, 1, "uid-b")
    assert caught.value.next_free == 8


@pytest.mark.parametrize("key", ["5/saved_model.pb", ".runs/5/manifest.json", ".runs/5/claim.json"])
def test_a_number_with_files_of_another_origin_is_taken(store: Store, key: str) -> None:
    store.write(key, b"not json")
    with pytest.raises(NumberTaken) as caught:
        claim(store, 5, "uid-a")
    assert caught.value.next_free == 6


def test_a_number_below_the_highest_is_free_if_nothing_is_there(store: Store) -> None:
    claim(store, 7, "uid-a")
    claim(store, 3, "uid-b")


def test_one_of_many_owners_at_the_same_moment_gets_the_number(store: Store) -> None:
    start, refused = threading.Barrier(6), []

    def ask(owner: str) -> None:
        start.wait()
        try:
            claim(store, 1, owner)
        except NumberTaken as error:
            refused.append(error.next_free)

    threads = [threading.Thread(target=ask, args=(f"uid-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [2] * 5


@pytest.mark.parametrize("quicker", ["uid-a", "uid-b"])
def test_a_claim_between_two_looks_at_the_store_is_no_file_of_another_origin(
    store: Store, monkeypatch: pytest.MonkeyPatch, quicker: str
) -> None:
    """Two workers of one run ask at the same moment, or two owners do."""
    folders = store.folders

    def after_another_claim(prefix: str) -> Iterator[str]:
        monkeypatch.setattr(store, "folders", folders)
        claim(store, 1, quicker)
        return folders(prefix)

    monkeypatch.setattr(store, "folders", after_another_claim)
    if quicker == "uid-a":
        claim(store, 1, "uid-a")
    else:
        with pytest.raises(NumberTaken, match="uid-b has claimed it"):
            claim(store, 1, "uid-a")


def test_a_claim_whose_answer_was_lost_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    once = store.write

    def twice(key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        once(key, data, only_if_absent=only_if_absent)
        once(key, data, only_if_absent=only_if_absent)

    monkeypatch.setattr(store, "write", twice)
    claim(store, 1, "uid-a")


def test_version_numbers_begin_at_one(store: Store) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        claim(store, 0, "uid-a")
