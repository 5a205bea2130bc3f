"""The compiled reader of nested lists: what it reads is what Python's own reader and NumPy make of it, bit for bit."""

import json
import random
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_server.runtime._number_lists import read
from model_server.runtime.json_mistakes import MAX_LEVELS

KINDS = ("f", "d", "q", "Q")


def array(text: str, kind: Any) -> np.ndarray[Any, Any] | None:
    body = text.encode()
    found = read(body, 0, len(body), kind)
    return None if found is None else np.ndarray(found[1], kind, found[0])


def refuse(text: str) -> float:
    raise ValueError(text)


def not_too_small(text: str) -> float:
    """The number; what is nearer to zero than any double is left to others."""
    number = float(text)
    return refuse(text) if number == 0 and re.search("[1-9]", re.split("[eE]", text)[0]) else number


def expected(text: str, kind: str) -> np.ndarray[Any, Any] | None:
    """What `read` may give: strict JSON, one list, regular, no empty list, whole numbers for integers, all that fit."""
    try:
        value = json.loads(text, parse_float=not_too_small, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    try:
        objects = np.array(value, object)
    except ValueError:
        return None
    flat = objects.ravel().tolist()
    if (
        not flat
        or objects.ndim > MAX_LEVELS
        or not {type(x) for x in flat} <= ({int, float} if kind in "fd" else {int})
    ):
        return None
    try:
        with np.errstate(over="ignore"):
            numbers = objects.astype(np.float64).astype(kind) if kind in "fd" else objects.astype(kind)
    except OverflowError:
        return None
    return numbers if kind not in "fd" or np.isfinite(numbers).all() else None


def assert_same(text: str, kind: str) -> None:
    found, wanted = array(text, kind), expected(text, kind)
    if found is None or wanted is None:
        assert found is None
        assert wanted is None
        return
    assert found.shape == wanted.shape
    # A whole zero with a sign is one without, where Python reads it as an integer.
    assert (found + 0 if kind in "fd" else found).tobytes() == (wanted + 0 if kind in "fd" else wanted).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "[0]",
        "[1, 2, 3]",
        "[[1,2],[3,4],[5,6]]",
        "[[[[7]]]]",
        " [ [ 1 , 2 ]\t,\r\n[ 3 , 4 ] ] ",
        "[-1, -0, 0]",
        "[9223372036854775807, -9223372036854775808]",
        "[9223372036854775808]",
        "[18446744073709551615, 999999999999999999, 1000000000000000000, 12345678, 123456789]",
        "[18446744073709551616]",
        "[-9223372036854775809]",
        "[1.0]",
        "[1e0]",
        "[1E+2, 1e-2, 0e9, 0.0e-7, 0e99999999999999999999]",
        "[0.1, -0.25, 123.456, 1.7976931348623157e308, 5e-309]",
        "[1.7976931348623159e308]",
        "[340282346638528859811704183484516925440.0]",
        "[3.4028235677973366e38]",
        "[0.00000000000000000000000000000000000000000000000000000000000000000000000000001]",
        "[123456789012345678901234567890]",
        "[1.000000000000000000000000000000000000000000000000001]",
        "[" * MAX_LEVELS + "1" + "]" * MAX_LEVELS,
        "[" * (MAX_LEVELS + 1) + "1" + "]" * (MAX_LEVELS + 1),
        # Not of one size a level, or empty.
        "[]",
        "[[]]",
        "[[],1]",
        "[[1],[]]",
        "[[1],2]",
        "[1,[2]]",
        "[[1,2],[3]]",
        "[[1],[2,3]]",
        "[[[1]],[2]]",
        "[[1]],[[2]]",
        # Not strict JSON.
        "",
        " ",
        "1",
        "[",
        "]",
        "[1",
        "[1]]",
        "[[1]",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1]x",
        "[01]",
        "[-]",
        "[-a]",
        "[+1]",
        "[.5]",
        "[1.]",
        "[1.e5]",
        "[1e]",
        "[1e+]",
        "[1e5.0]",
        "[0x1]",
        "[1_0]",
        "[1;2]",
        "[NaN]",
        "[inf]",
        "[-Infinity]",
        "[nan(1)]",
        "[true]",
        "[null]",
        '["1"]',
        '[{"b64": "AA=="}]',
        "[1\0]",
        "[１]",
    ],
)
def test_one_list(text: str, kind: str) -> None:
    assert_same(text, kind)


@pytest.mark.parametrize("text", ["[1e-400]", "[1e400]", "[1e99999999999999999999]", "[1e-99999999999999999999]"])
def test_what_no_double_holds_is_left_to_others(text: str) -> None:
    assert array(text, "d") is None


def test_it_reads_all_that_a_client_may_send() -> None:
    pixels = np.random.default_rng(7).random((2, 5, 3, 1), np.float32)
    for text in (json.dumps(pixels.tolist()), json.dumps(pixels.tolist(), indent=1)):
        for kind in ("f", "d"):
            found = array(text, kind)
            assert found is not None
            assert found.tobytes() == pixels.astype(kind).tobytes()


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.integers(-(2**65), 2**65),
    st.integers(-300, 300),
)


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.sampled_from(KINDS))
def test_any_numbers(numbers: list[Any], kind: str) -> None:
    assert_same(json.dumps(numbers), kind)


@given(
    st.from_regex(re.compile(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?", re.ASCII), fullmatch=True)
)
@example("0.500000029802322387695312")  # the middle between two floats, its digits past 53 bits
def test_any_decimal(text: str) -> None:
    for kind in KINDS:
        assert_same(f"[{text}]", kind)


@given(st.floats(2**-60, 2**60, width=32), st.integers(-3, 3), st.integers(17, 22))
def test_decimals_beside_the_middle_between_two_floats(number: float, steps: int, digits: int) -> None:
    """Where reading a double a little wrongly would give another float."""
    below = np.float32(number)
    middle = (float(below) + float(np.nextafter(below, np.float32(np.inf)))) / 2
    for _ in range(abs(steps)):
        middle = float(np.nextafter(middle, np.inf if steps > 0 else 0))
    text = np.format_float_positional(middle, precision=digits, unique=False, fractional=False, trim="0")
    assert_same(f"[{text}, -{text}]", "f")


def test_decimals_beside_such_a_middle_with_more_digits_than_a_double_holds() -> None:
    random.seed(5)
    for _ in range(20000):
        below = np.float32(random.random())
        middle = (float(below) + float(np.nextafter(below, np.float32(1)))) / 2
        text = f"{middle:.18f}"[:20]
        last = max(0, min(9, int(text[-1]) + random.randrange(-3, 4)))
        assert_same(f"[{text[:-1]}{last}]", "f")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_texts(kind: str) -> None:
    random.seed(11)
    good = "[[[1, -2.5e1], [3.25, 44444444444444444]], [[5, 0.123456789], [0, 1234567890123456789]]]"
    whole = re.sub(r"\.\d+(e\d)?|e\d", "", good)
    for _ in range(4000):
        text = bytearray((good if kind in "fd" else whole).encode())
        for _ in range(random.randrange(1, 3)):
            at = random.randrange(len(text))
            match random.randrange(3):
                case 0:
                    del text[at]
                case 1:
                    text.insert(at, random.choice(b'[],.-+eE0159 \n{}"a'))
                case _:
                    text[at] = random.choice(b'[],.-+eE0159 \n{}"a')
        assert_same(text.decode(), kind)


def test_only_the_given_part_of_a_body_counts() -> None:
    body = b"12345678[[1.5],[2]]87654321"
    found = read(body, 8, 19, "f")
    assert found is not None
    assert np.ndarray(found[1], "f", found[0]).tolist() == [[1.5], [2.0]]
    for start, end in ((9, 19), (8, 18), (7, 19), (8, 20), (8, 8)):
        assert read(body, start, end, "f") is None


def test_a_long_list_is_read_beside_other_threads() -> None:
    text = json.dumps(np.random.default_rng(3).random((300, 300)).tolist())
    assert len(text) > 1_000_000
    assert_same(text, "d")
    assert_same(text, "f")


@pytest.mark.parametrize(
    ("start", "end", "kind", "said"),
    [
        (-1, 3, "f", "start and end"),
        (0, 4, "f", "start and end"),
        (2, 1, "f", "start and end"),
        (0, 3, "x", "kind must be"),
    ],
)
def test_wrong_arguments_are_refused(start: int, end: int, kind: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(b"[1]", start, end, kind)
