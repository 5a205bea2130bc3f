"""CPU, memory and devices of a container, as Kubernetes writes them."""

import re
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
# The API server estimates what the rules below cost at most, takes every quantity for as long as a whole request, and
# refuses a CRD above its limit. With 6 names the two `resources` of a model use half of it.
_NAMES_AT_MOST = 6
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


def _known_quantities(resources: "Resources", name: str) -> tuple[Decimal, Decimal] | None:
    """What is requested and what is the limit, where both can be read."""
    pair = (resources.requests.get(name), resources.limits.get(name))
    known = [parse_quantity(one) for one in pair if one is not None and _is_quantity(one)]
    return (known[0], known[1]) if len(known) == 2 else None


def _within_limits(resources: "Resources") -> bool:
    pairs = (_known_quantities(resources, name) for name in resources.requests)
    return all(pair is None or pair[0] <= pair[1] for pair in pairs)


def _devices_agree(resources: "Resources") -> bool:
    return all(
        resources.limits.get(name) is not None and str(resources.limits[name]) == str(quantity)
        for name, quantity in resources.requests.items()
        if "/" in name
    )


_IS_QUANTITY = Rule(
    cel="type(self) == int ? self >= 0 : isQuantity(self) && !self.startsWith('-')",
    message="must be a quantity and not negative, such as 500m or 2 for cpu, 512Mi or 2Gi for memory",
    holds=_is_quantity,
)
Quantity = Annotated[int | str, Meta(extra=ruled(_IS_QUANTITY))]
"""A number with a suffix, as `parse_quantity` reads it."""

_NAMES = Rule(
    cel=f"self.all(name, name.matches(r'^{_NAME}$'))",
    message=(
        "only cpu, memory, ephemeral-storage and devices such as nvidia.com/gpu can be asked for; check the spelling"
    ),
    holds=lambda quantities: all(re.fullmatch(_NAME, name) for name in quantities),
)
_WHOLE_DEVICES = Rule(
    cel="self.all(name, !name.contains('/') || type(self[name]) == int || self[name].matches(r'^[0-9]+$'))",
    message="devices such as nvidia.com/gpu come in whole numbers",
    holds=lambda quantities: all(
        re.fullmatch("[0-9]+", str(quantity)) for name, quantity in quantities.items() if "/" in name
    ),
)


class Resources(Written, frozen=True, kw_only=True):
    """What a container asks for and may use at most."""

    requests: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=_NAMES_AT_MOST,
            description="What the scheduler sets aside for the container: cpu in cores, memory in bytes.",
            examples=[{"cpu": "500m", "memory": "1Gi"}],
            extra=ruled(_NAMES, _WHOLE_DEVICES),
        ),
    ] = msgspec.field(default_factory=dict)
    limits: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=_NAMES_AT_MOST,
            description="What the container may use at most; a container that uses more memory is killed.",
            examples=[{"memory": "2Gi", "nvidia.com/gpu": 1}],
            extra=ruled(_NAMES, _WHOLE_DEVICES),
        ),
    ] = msgspec.field(default_factory=dict)

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "!has(self.requests) || !has(self.limits) || ['cpu', 'memory', 'ephemeral-storage'].all(name, "
                "!(name in self.requests) || !(name in self.limits) || "
                "!isQuantity(string(self.requests[name])) || !isQuantity(string(self.limits[name])) || "
                "!quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))"
            ),
            message="a request must not be above its limit: lower the request or raise the limit",
            holds=_within_limits,
        ),
        Rule(
            cel=(
                "!has(self.requests) || self.requests.all(name, !name.contains('/') || "
                "has(self.limits) && name in self.limits && string(self.limits[name]) == string(self.requests[name]))"
            ),
            message="devices such as nvidia.com/gpu are written under limits; a request, if any, must be equal",
            holds=_devices_agree,
        ),
    )
