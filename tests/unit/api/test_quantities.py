"""Quantities as Kubernetes writes them."""

from decimal import Decimal

import pytest
from keras_operator.api import parse_quantity


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("500m", "0.5"),
        (2, "2"),
        ("2", "2"),
        ("0.1", "0.1"),
        (".5", "0.5"),
        ("1.", "1"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("1G", "1000000000"),
        ("100k", "100000"),
        ("1e9", "1000000000"),
        ("1E3", "1000"),
        ("1E", "1000000000000000000"),
        ("1e999", "9223372036854775807"),
        ("9999999999999999999999", "9223372036854775807"),
        ("0.0000000001", "0.000000001"),
        ("3u", "0.000003"),
        ("7n", "0.000000007"),
    ],
)
def test_quantity_is_its_number(written, number):
    assert parse_quantity(written) == Decimal(number)


@pytest.mark.parametrize("written", ["", "Gi", "2GB", "1 Gi", "-1", "1,5", "0x10", "1K", "one", "1e", "１", "1e9999"])
def test_what_is_no_quantity_is_refused(written):
    with pytest.raises(ValueError, match="is not a quantity: write a number with a suffix"):
        parse_quantity(written)
