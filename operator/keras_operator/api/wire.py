"""The two kinds of objects on the wire: what people write (strict) and what programs report (tolerant)."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Time = Annotated[datetime, Meta(tz=True)]
"""A moment with a time zone; RFC 3339 in JSON, e.g. `2026-03-01T12:00:00Z`."""


class Written(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Something that people write: a field that is not known is refused, never ignored."""


class Reported(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that a program reports: fields of a newer release are skipped, so that releases can be mixed."""
