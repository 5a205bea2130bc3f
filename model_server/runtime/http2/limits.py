"""What one client may cost, and how long its connection lives."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes (-1 is no bound), times in seconds."""

    message: int = -1
    # At the same time, on one connection.
    calls: int = 1000
    # A request must make some progress within this time, and so must a client that reads its answer.
    stall: float = 30.0
    # Past that time a request that is still coming in must have come, on average, at this many bytes a second.
    slowest: float = 1024.0
    # A client that comes back costs half a millisecond.
    age: float = 15.0
    # How long calls may go on after that.
    age_grace: float = math.inf
    # Without a call.
    idle: float = math.inf
    # How long a client that was asked to go has to answer, and then to close.
    goodbye: float = 5.0
