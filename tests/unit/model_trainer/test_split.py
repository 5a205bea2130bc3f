import hashlib

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from model_trainer.data.split import Split, fraction_of, split_by_content

# (content of a file, its class); few contents, so that copies are common.
files = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=200)
fractions = st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45))


def sha(content: int) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def split(of: list[tuple[int, int]], wanted: tuple[float, float]) -> Split:
    return split_by_content(
        [sha(content) for content, _ in of],
        [label for _, label in of],
        validation_fraction=wanted[0],
        test_fraction=wanted[1],
    )


def parts(of: list[tuple[int, int]], wanted: tuple[float, float]) -> dict[int, str]:
    """The part of each content."""
    done = split(of, wanted)
    return {of[i][0]: name for name in ("train", "validation", "test") for i in getattr(done, name)}


@given(files, fractions)
def test_every_image_is_in_exactly_one_part(of: list[tuple[int, int]], wanted: tuple[float, float]):
    done = split(of, wanted)
    together = np.concatenate([done.train, done.validation, done.test])
    assert sorted(together) == list(range(len(of)))


@given(files, fractions)
def test_copies_are_on_the_same_side_even_in_different_classes(of: list[tuple[int, int]], wanted: tuple[float, float]):
    done = split(of, wanted)
    sides = [{of[i][0] for i in part} for part in (done.train, done.validation, done.test)]
    assert sum(len(side) for side in sides) == len(set.union(*sides))


@given(files, fractions)
def test_no_class_is_missing_from_train(of: list[tuple[int, int]], wanted: tuple[float, float]):
    done = split(of, wanted)
    assert {of[i][1] for i in done.train} == {label for _, label in of}


@given(files, fractions)
def test_every_part_has_an_image_where_there_are_enough(of: list[tuple[int, int]], wanted: tuple[float, float]):
    alone = [content for content, _ in of]
    assume(all(alone.count(content) == 1 for content in alone))
    classes = {label for _, label in of}
    assume(len(of) >= len(classes) + 2)
    done = split(of, wanted)
    assert len(done.validation)
    assert len(done.test)


# Enough files of every class in every part, so that no exception is needed.
ENOUGH = [(content, content % 4) for content in range(1000, 1400)]


@given(files, files, st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4)))
def test_adding_files_moves_no_other_file(
    old: list[tuple[int, int]], new: list[tuple[int, int]], wanted: tuple[float, float]
):
    before, after = parts(ENOUGH + old, wanted), parts(ENOUGH + old + new, wanted)
    assert {content: after[content] for content in before} == before


def test_the_part_is_what_the_hash_says():
    done = parts(ENOUGH, (0.2, 0.1))
    for content, _ in ENOUGH:
        fraction = fraction_of(sha(content))
        assert done[content] == ("test" if fraction < 0.1 else "validation" if fraction < 0.3 else "train")


@given(files, fractions, st.randoms())
def test_the_order_of_the_files_has_no_say(of: list[tuple[int, int]], wanted: tuple[float, float], random: object):
    mixed = list(of)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert parts(mixed, wanted) == parts(of, wanted)


def test_the_parts_have_about_the_wanted_sizes():
    done = split([(content, 0) for content in range(5000)], (0.2, 0.1))
    assert abs(len(done.validation) / 5000 - 0.2) < 0.02
    assert abs(len(done.test) / 5000 - 0.1) < 0.02


def test_a_class_that_fell_outside_train_gives_its_highest_file_to_train():
    low = sorted(range(2000), key=sha)[:3]
    done = split([(content, 0) for content in range(2000, 2100)] + [(content, 1) for content in low], (0.2, 0.2))
    # Indices 100 to 102 are the three of class 1, ascending in their fraction.
    assert set(done.train) & {100, 101, 102} == {102}
    assert {100, 101} <= set(done.test)
