"""The demo's data: every image once, the same fifth of each class held out on every machine, PNG without loss."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.demo.digits import Digit, held_out, load
from benchmarks.demo.upload import images


@pytest.fixture(scope="module")
def digits() -> list[Digit]:
    return load()


def test_all_digits_are_there_once(digits: list[Digit]) -> None:
    assert len(digits) == 1797
    assert len({digit.name for digit in digits}) == 1797
    assert {digit.label for digit in digits} == set(range(10))


def test_a_fifth_of_each_class_is_held_out(digits: list[Digit]) -> None:
    labels = [digit.label for digit in digits]
    chosen = held_out(labels)
    classes, unseen = Counter(labels), Counter(labels[index] for index in chosen)
    assert unseen == {label: round(0.2 * count) for label, count in classes.items()}
    assert len(chosen) == 359


def test_the_held_out_images_are_the_same_everywhere(digits: list[Digit]) -> None:
    # Written down once: another choice would make accuracies of two releases incomparable.
    assert sorted(held_out([digit.label for digit in digits]))[:8] == [0, 8, 12, 15, 17, 18, 25, 28]


def test_no_held_out_image_is_uploaded(digits: list[Digit]) -> None:
    chosen = held_out([digit.label for digit in digits])
    sent = images(digit for index, digit in enumerate(digits) if index not in chosen)
    kept = images(digits[index] for index in chosen)
    assert len(sent) + len(kept) == 1797
    assert not set(sent) & set(kept)


@given(labels=st.lists(st.integers(0, 9), max_size=300))
def test_each_class_gives_its_part_whatever_the_labels(labels: list[int]) -> None:
    chosen = held_out(labels)
    parts = Counter(labels[index] for index in chosen)
    assert all(parts[label] == round(0.2 * count) for label, count in Counter(labels).items())


def test_a_png_file_holds_the_pixels_unchanged(digits: list[Digit]) -> None:
    digit = digits[0]
    with Image.open(io.BytesIO(digit.png())) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
        assert np.array_equal(np.asarray(image), digit.pixels)


def test_shades_are_spread_over_8_bits(digits: list[Digit]) -> None:
    values = {int(value) for digit in digits for value in np.unique(digit.pixels)}
    assert values == {round(shade * 255 / 16) for shade in range(17)}


def test_an_instance_is_the_same_image_from_0_to_1(digits: list[Digit]) -> None:
    instance = np.array(digits[7].instance())
    assert instance.shape == (8, 8, 1)
    assert np.allclose(instance[..., 0] * 255, digits[7].pixels)
