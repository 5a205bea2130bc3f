"""CPU, memory and devices of a container, as Kubernetes writes them."""

import re
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .rules import Rule
from .wire import Written

Quantity = Annotated[int | str, Meta(description="A Kubernetes quantity.", examples=["500m", "2Gi", 1])]

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NAME = r"(?:cpu|memory|ephemeral-storage|[a-z0-9][a-z0-9.-]*\.[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]*)"


def parse_quantity(quantity: int | str) -> Decimal:
    """The number that a quantity stands for: `500m` is 0.5, `1Ki` is 1024. Raises ValueError for anything else."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity: write a number with a suffix, such as 500m, 1 or 2Gi")
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _BINARY_SUFFIXES:
        return number * Decimal(1024) ** _BINARY_SUFFIXES[suffix]
    if suffix in _SUFFIXES:
        return number.scaleb(_SUFFIXES[suffix])
    return number.scaleb(int(suffix[1:]))


def _is_quantity(quantity: int | str) -> bool:
    return _QUANTITY.fullmatch(str(quantity)) is not None


def _within_limits(resources: "Resources") -> bool:
    return all(
        parse_quantity(quantity) <= parse_quantity(resources.limits[name])
        for name, quantity in resources.requests.items()
        if name in resources.limits and _is_quantity(quantity) and _is_quantity(resources.limits[name])
    )


class Resources(Written, frozen=True, kw_only=True):
    """What a container asks for and may use at most."""

    requests: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=16,
            description="What the scheduler sets aside for the container: cpu in cores, memory in bytes.",
            examples=[{"cpu": "500m", "memory": "1Gi"}],
        ),
    ] = msgspec.field(default_factory=dict)
    limits: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=16,
            description="What the container may use at most; a container that uses more memory is killed.",
            examples=[{"memory": "2Gi", "nvidia.com/gpu": 1}],
        ),
    ] = msgspec.field(default_factory=dict)

    RULES: ClassVar[tuple[Rule, ...]] = ()
