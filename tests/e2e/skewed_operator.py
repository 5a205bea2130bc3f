"""The operator as a process of this machine, whose wall clock is wrong by so many seconds."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo

from keras_operator.cluster import clock
from keras_operator.main import main

_AHEAD = timedelta(seconds=float(sys.argv[1]))


class _Skewed(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The time that the wrong clock shows."""
        return datetime.now(tz) + _AHEAD


vars(clock)["datetime"] = _Skewed
sys.exit(main(sys.argv[2:]))
