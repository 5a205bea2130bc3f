import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store import Store, Unreachable, open_store
from model_trainer.data.dataset import Dataset
from model_trainer.data.decoding import Decoder
from model_trainer.data.fetching import BYTES_IN_FLIGHT, Resources, _ByteBudget, fetch_images
from model_trainer.data.listing import list_images
from model_trainer.failure import TooManyBadFiles
from model_trainer.patience import Patience

MEMORY = 1024**3


class Flaky:
    """A store whose every key fails `failures` times before it is read."""

    def __init__(self, store: Store, failures: int) -> None:
        self.uri = store.uri
        self._store = store
        self._failures = failures
        self._seen: dict[str, int] = {}

    def read(self, key: str, *, limit: int) -> bytes:
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] <= self._failures:
            raise Unreachable(f"{self.uri} does not answer")
        return self._store.read(key, limit=limit)


@pytest.fixture
def fetch(few_digits: Path, tmp_path: Path) -> Callable[..., Dataset]:
    def fetched(
        max_bad_files: int = 100, store: Any = None, patience: Patience | None = None, **options: Any
    ) -> Dataset:
        local = open_store(few_digits.as_uri())
        return fetch_images(
            store or local,
            list_images(local.uri, local.list()),
            Decoder(8, 8, 1, 2),
            max_bad_files=max_bad_files,
            patience=patience or Patience(0),
            resources=Resources(options.pop("memory", MEMORY), tmp_path),
            **options,
        )

    return fetched


def spoil(folder: Path, encode_image: Any, picture: Any) -> None:
    """Three bad files among the zeros: cut off, empty, and no image at all."""
    (folder / "0" / "a cut.jpg").write_bytes(encode_image(picture, "JPEG")[:500])
    (folder / "0" / "b empty.png").write_bytes(b"")
    (folder / "0" / "c text.png").write_text("not an image")


def test_every_image_is_there_with_its_class(fetch: Callable[..., Dataset]):
    data = fetch()
    assert data.classes == tuple("0123456789")
    assert len(data.examples) == 120
    assert data.pixels.shape == (120, 8, 8, 1)
    assert [example.key for example in data.examples] == sorted(example.key for example in data.examples)
    assert {example.key[0]: example.label for example in data.examples} == {str(digit): digit for digit in range(10)}
    assert data.pixels.max() == 255


def test_bad_files_are_counted_named_and_left_out(
    fetch: Callable[..., Dataset], few_digits: Path, encode_image: Any, picture: Any
):
    clean = fetch()
    spoil(few_digits, encode_image, picture)
    data = fetch(max_bad_files=3)
    assert [(bad.key, bad.fault.partition(" (")[0]) for bad in data.bad] == [
        ("0/a cut.jpg", "a truncated or damaged JPEG"),
        ("0/b empty.png", "zero bytes"),
        ("0/c text.png", "not a PNG, JPEG, GIF, BMP or WebP image"),
    ]
    assert [example.sha256 for example in data.examples] == [example.sha256 for example in clean.examples]
    rows = data.rows(np.arange(len(data.examples)))
    assert np.array_equal(data.pixels[rows], clean.pixels)


def test_more_bad_files_than_allowed_end_it_with_their_names(
    fetch: Callable[..., Dataset], few_digits: Path, encode_image: Any, picture: Any
):
    spoil(few_digits, encode_image, picture)
    with pytest.raises(TooManyBadFiles) as caught:
        fetch(max_bad_files=2)
    sentence = str(caught.value)
    assert "3 of the first 15 of 123 images" in sentence
    assert "maxBadFiles allows 2: 0/a cut.jpg (a truncated or damaged JPEG), 0/b empty.png (zero bytes)" in sentence


def test_a_class_without_one_good_image_is_an_error_whatever_the_limit(fetch: Callable[..., Dataset], few_digits: Path):
    (few_digits / "smörgås bord").mkdir()
    (few_digits / "smörgås bord" / "1.png").write_bytes(b"")
    with pytest.raises(TooManyBadFiles, match=r"class 'smörgås bord' .*: smörgås bord/1.png \(zero bytes\)"):
        fetch(max_bad_files=100)


def test_a_file_that_is_removed_meanwhile_is_a_bad_file(fetch: Callable[..., Dataset], few_digits: Path):
    local = open_store(few_digits.as_uri())
    entries = list(local.list())
    (few_digits / entries[0].key).unlink()
    found = fetch_images(
        local,
        list_images(local.uri, entries),
        Decoder(8, 8, 1, 2),
        max_bad_files=1,
        patience=Patience(0),
        resources=Resources(MEMORY, few_digits.parent),
    )
    assert [bad.fault for bad in found.bad] == ["changed or removed while the data was read"]


def test_a_store_that_comes_back_in_time_costs_nothing(fetch: Callable[..., Dataset], few_digits: Path):
    flaky = Flaky(open_store(few_digits.as_uri()), failures=2)
    assert len(fetch(store=flaky, patience=Patience(30, longest_pause=0.01)).examples) == 120


def test_a_store_that_stays_away_is_an_error(fetch: Callable[..., Dataset], few_digits: Path):
    flaky = Flaky(open_store(few_digits.as_uri()), failures=10_000)
    with pytest.raises(Unreachable):
        fetch(store=flaky, patience=Patience(0.05, longest_pause=0.01))


def test_images_that_do_not_fit_into_memory_are_kept_on_the_scratch_volume(
    fetch: Callable[..., Dataset], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        inside, outside = fetch(), fetch(memory=2 * 120 * 64 - 2)
    assert isinstance(outside.pixels, np.memmap)
    assert not isinstance(inside.pixels, np.memmap)
    assert np.array_equal(inside.pixels, outside.pixels)
    assert not list(tmp_path.glob("*.bin")), "the file has no name any more, so it goes away with the process"
    assert ["are kept in memory" in line for line in caplog.messages if "decoded images" in line] == [True, False]


def test_progress_is_told_for_every_file(fetch: Callable[..., Dataset]):
    told: list[tuple[int, int]] = []
    fetch(on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 120) for done in range(1, 121)]


def test_bytes_in_flight_are_bounded_and_a_larger_file_waits_until_it_is_alone():
    budget = _ByteBudget(100)
    inside = threading.Event()
    leave = threading.Event()

    def large() -> None:
        with budget.of(1000):
            inside.set()
            leave.wait(10)

    with budget.of(60):
        thread = threading.Thread(target=large, daemon=True)
        thread.start()
        assert not inside.wait(0.1)
        with budget.of(40):
            assert not inside.is_set()
    assert inside.wait(10)
    leave.set()
    thread.join(10)
    assert BYTES_IN_FLIGHT == 64 * 1024**2
