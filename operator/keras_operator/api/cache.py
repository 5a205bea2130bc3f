"""A volume that keeps what was fetched from a store."""

from typing import Annotated

from msgspec import Meta

from .rules import fully_matches, ruled
from .wire import Written


class Cache(Written, frozen=True, kw_only=True):
    """A volume that keeps what was fetched, for other pods and for later."""

    claim_name: Annotated[
        str,
        Meta(
            max_length=253,
            description="PersistentVolumeClaim in the model's namespace, which several pods may write at once.",
            examples=["servables"],
            extra=ruled(
                fully_matches(
                    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*",
                    "must be the name of a PersistentVolumeClaim: lower-case letters, digits, '-' and '.', starting "
                    "and ending with a letter or digit, such as servables",
                )
            ),
        ),
    ]
    max_gigabytes: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description=(
                    "Gigabytes (10^9 bytes), from 1 to 1000000, that it keeps at most; what was not used for longest "
                    "goes. Left out: a twentieth of the volume stays free."
                ),
                examples=[50],
            ),
        ]
        | None
    ) = None
