"""CPU, memory and devices of a container, as Kubernetes writes them."""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .rules import Rule, ruled
from .wire import Written

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?")
# People write no exponents: Kubernetes takes seconds to read 1e-9999999, and 1e9 without quotes is a number in YAML.
_WRITTEN = re.compile(r"(?!.*[eE])[0-9.][0-9a-zA-Z.]{0,23}")
# As Kubernetes reads it: at most what 64 bits hold, and a whole number of nanos, rounded up.
_LARGEST, _SMALLEST = Decimal(2**63 - 1), Decimal("1e-9")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NOTHING = ("0", "0m", "0.0")
_COUNTED = ("cpu", "memory", "ephemeral-storage")
_BINARY_SUFFIXES = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
# The API server estimates what the rules below cost at most, takes every quantity for as long as a whole request, and
# refuses a CRD above its limit. With 6 names the two `resources` of a model use nine tenths of it.
_NAMES_AT_MOST = 6
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DEVICE = rf"{_LABEL}(?:\.{_LABEL})+/[A-Za-z0-9](?:[A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?"
_NAME = rf"(?:cpu|memory|ephemeral-storage|{_DEVICE})"
# Names that Kubernetes keeps for itself: no node has such a device, and quotas are spelt like the second.
_KUBERNETES_OWN = r"(?:[^/]*\.)?kubernetes\.io/|requests\."


def parse_quantity(quantity: int | str) -> Decimal:
    """The number that a quantity stands for: `500m` is 0.5, `1Ki` is 1024. Raises ValueError for anything else."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity: write a number with a suffix, such as 500m, 1 or 2Gi")
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _BINARY_SUFFIXES:
        amount = number * Decimal(1024) ** _BINARY_SUFFIXES[suffix]
    else:
        amount = number.scaleb(_SUFFIXES[suffix] if suffix in _SUFFIXES else int(suffix[1:]))
    return min(amount, _LARGEST).quantize(_SMALLEST, ROUND_CEILING)


def _is_quantity(quantity: int | str) -> bool:
    if isinstance(quantity, int):
        return 0 <= quantity <= _LARGEST
    return _WRITTEN.fullmatch(quantity) is not None and _QUANTITY.fullmatch(quantity) is not None


def _known_quantities(resources: "Resources", name: str) -> tuple[Decimal, Decimal] | None:
    """What is requested and what is the limit, where both can be read."""
    pair = (resources.requests.get(name), resources.limits.get(name))
    known = [parse_quantity(one) for one in pair if one is not None and _is_quantity(one)]
    return (known[0], known[1]) if len(known) == 2 else None


def _enough_bytes(name: str, least: str) -> Rule:
    def holds(resources: dict[str, int | str]) -> bool:
        size = resources.get(name, least)
        return not _is_quantity(size) or parse_quantity(size) >= parse_quantity(least) or str(size) in _NOTHING

    return Rule(
        cel=(
            f"!('{name}' in self) || !isQuantity(string(self['{name}'])) || "
            f"quantity(string(self['{name}'])).compareTo(quantity('{least}')) >= 0 || "
            f"string(self['{name}']) in {[*_NOTHING]}"
        ),
        message=(
            f"{name} is counted in bytes, and this is less than {least}: write 512Mi for 512 mebibytes (512 is 512 "
            "bytes, and 512m is half a byte)"
        ),
        holds=holds,
    )


def _within_limit(name: str) -> Rule:
    request, limit = f"string(self.requests['{name}'])", f"string(self.limits['{name}'])"

    def holds(resources: "Resources") -> bool:
        pair = _known_quantities(resources, name)
        return pair is None or pair[0] <= pair[1]

    return Rule(
        cel=(
            f"!has(self.requests) || !has(self.limits) || "
            f"!('{name}' in self.requests) || !('{name}' in self.limits) || "
            f"!isQuantity({request}) || !isQuantity({limit}) || "
            f"!quantity({request}).isGreaterThan(quantity({limit}))"
        ),
        message=f"the request of {name} must not be above its limit: lower requests.{name} or raise limits.{name}",
        holds=holds,
    )


def _devices_agree(resources: "Resources") -> bool:
    return all(
        resources.limits.get(name) is not None and str(resources.limits[name]) == str(quantity)
        for name, quantity in resources.requests.items()
        if "/" in name
    )


_IS_QUANTITY = Rule(
    cel=(
        "type(self) == int ? self >= 0 : "
        "size(self) <= 24 && !self.startsWith('-') && !self.startsWith('+') && !self.contains('e') && "
        "!self.contains('E') && isQuantity(self)"
    ),
    message="must be a quantity and not negative, such as 500m or 2 for cpu, 512Mi or 2Gi for memory",
    holds=_is_quantity,
)
Quantity = Annotated[int | str, Meta(extra=ruled(_IS_QUANTITY))]
"""A number with a suffix, as `parse_quantity` reads it."""
PositiveQuantity = (
    # The API server's whole numbers have 64 bits.
    Annotated[int, Meta(ge=1, le=2**63 - 1)]
    | Annotated[
        str,
        Meta(
            max_length=24,
            pattern="^([0-9]*[1-9][0-9]*[.]?[0-9]*|[0-9]*[.][0-9]*[1-9][0-9]*)([KMGTP]i|[numkMGTP])?$",
        ),
    ]
)
"""A quantity above 0, as an autoscaler compares metrics with: by pattern, for no rule can be afforded (see above)."""

_NAMES = Rule(
    cel=f"self.all(name, name.matches(r'^{_NAME}$') && !name.matches(r'^(?:{_KUBERNETES_OWN})'))",
    message=(
        "only cpu, memory, ephemeral-storage and devices such as nvidia.com/gpu can be asked for: check the spelling"
    ),
    holds=lambda quantities: all(
        re.fullmatch(_NAME, name) and not re.match(_KUBERNETES_OWN, name) for name in quantities
    ),
)
_ENOUGH = (_enough_bytes("memory", "1Mi"), _enough_bytes("ephemeral-storage", "1Ki"))
_WHOLE_DEVICES = Rule(
    cel="self.all(name, !name.contains('/') || type(self[name]) == int || self[name].matches(r'^[0-9]+$'))",
    message="devices such as nvidia.com/gpu come in whole numbers: write 1 or 2",
    holds=lambda quantities: all(
        isinstance(quantity, int) or re.fullmatch("[0-9]+", quantity)
        for name, quantity in quantities.items()
        if "/" in name
    ),
)


_CORES = Rule(
    cel="!('cpu' in self) || !string(self['cpu']).matches('[kKMGTPi]$')",
    message="cpu is counted in cores: write 2 for two cores or 500m for half a core",
    holds=lambda quantities: re.search("[kKMGTPi]$", str(quantities.get("cpu", ""))) is None,
)
_NOT_NOTHING = Rule(
    cel=f"{[*_COUNTED]}.all(name, !(name in self) || !(string(self[name]) in {[*_NOTHING]}))",
    message="a limit of 0 is read as no limit by Kubernetes: leave it out, or write what may be used at most",
    holds=lambda quantities: all("/" in name or str(quantity) not in _NOTHING for name, quantity in quantities.items()),
)


class Resources(Written, frozen=True, kw_only=True):
    """What a container asks for and may use at most."""

    requests: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=_NAMES_AT_MOST,
            description=(
                "What the scheduler sets aside for the container: cpu in cores (half a core is 500m), memory and "
                "ephemeral-storage in bytes. Left out: what is written in limits."
            ),
            examples=[{"cpu": "500m", "memory": "1Gi"}],
            extra=ruled(_NAMES, _WHOLE_DEVICES, _CORES, *_ENOUGH),
        ),
    ] = msgspec.field(default_factory=dict)
    limits: Annotated[
        dict[str, Quantity],
        Meta(
            max_length=_NAMES_AT_MOST,
            description=(
                "What the container may use at most: cpu in cores, memory and ephemeral-storage in bytes; a container "
                "that uses more memory is killed. Left out: no limit."
            ),
            examples=[{"memory": "2Gi", "nvidia.com/gpu": 1}],
            extra=ruled(_NAMES, _WHOLE_DEVICES, _CORES, *_ENOUGH, _NOT_NOTHING),
        ),
    ] = msgspec.field(default_factory=dict)

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(_within_limit(name) for name in _COUNTED),
        Rule(
            cel=(
                "!has(self.requests) || self.requests.all(name, !name.contains('/') || "
                "has(self.limits) && name in self.limits && string(self.limits[name]) == string(self.requests[name]))"
            ),
            message=(
                "devices such as nvidia.com/gpu are written under limits: leave the request out, or make it the same"
            ),
            holds=_devices_agree,
        ),
    )
