"""Quantities as Kubernetes writes them."""

from decimal import Decimal

import pytest
from keras_operator.api import ApiError, decode_model, parse_quantity


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


@pytest.mark.parametrize(("value", "refused"), [(2**63 - 1, False), (2**63, True)])
def test_a_whole_number_has_the_64_bits_of_the_api_server(value, refused):
    wanted = {
        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "queue"},
        "metric": {"name": "length"},
        "target": {"type": "Value", "value": value},
    }
    autoscaling = {"metrics": [{"type": "Object", "object": wanted}]}
    spec = {
        "source": {"uri": "s3://uploads/dogs"},
        "store": {"uri": "s3://models/dogs"},
        "serving": {"autoscaling": autoscaling},
    }
    if refused:
        with pytest.raises(ApiError, match="expected `int` <= 9223372036854775807"):
            decode_model(spec)
    else:
        decode_model(spec)
