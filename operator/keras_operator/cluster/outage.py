"""An API server that does not answer is told of twice: when it is lost, and when it is back."""

from __future__ import annotations

import logging

from keras_operator.cluster.clock import Clock, SystemClock

logger = logging.getLogger(__name__)


class Outage:
    """Hears of every request of this process, those of watches too, whether there was an answer, whichever it was.

    Whoever else fails for want of an answer need not say so above the level of debugging.

    Args:
        clock: where seconds are counted.
        patience: seconds without any answer after which the API server counts as lost; a connection that broke while
            others bring answers is no news.
    """

    def __init__(self, clock: Clock | None = None, patience: float = 2.0) -> None:
        self._clock: Clock = clock or SystemClock()
        self._patience = patience
        self._since: float | None = None
        self._lost = False

    def failed(self, why: str) -> None:
        """A request got no answer."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if not self._lost and now - self._since >= self._patience:
            self._lost = True
            logger.error("the API server does not answer, and is asked again until it does: %s", why)

    def answered(self) -> None:
        """A request got an answer."""
        if self._since is not None and self._lost:
            logger.info("the API server answers again, after %.0f s", self._clock.monotonic() - self._since)
        self._since, self._lost = None, False
