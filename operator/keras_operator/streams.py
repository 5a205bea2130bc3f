"""kopf's watch streams, read straight into the handlers.

kopf puts each event into a queue of its object, with a task that lives as long as there are events, and looks on the
way for finalizers, daemons, stored progress and time-outs of which this operator has none. That was a third of all CPU
seconds, and several kB for each object for ever. Handlers here neither wait nor fail, and the cache sorts events by
resourceVersion, so nothing is lost by calling them where the stream is read.

kopf has no switch for this: the loop that it runs for each stream is replaced, for registries of this module only. A
test holds the seam against the pinned version.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import kopf
from kopf._cogs.clients import watching
from kopf._core.reactor import queueing

logger = logging.getLogger(__name__)

# A first list comes in one piece: probes, the Lease and the workers want their turn meanwhile.
_EVENTS_IN_A_ROW = 50

Handler = Callable[..., Awaitable[object]]


class StraightRegistry(kopf.OperatorRegistry):
    """Handlers that are called with `event=` alone, one event after the other as a stream brings them."""

    def handlers(self, resource: Any) -> list[Handler]:
        """The `on.event` handlers of a resource."""
        return [
            cast("Handler", handler.fn)
            for handler in self._watching.get_all_handlers()
            if handler.selector is None or handler.selector.check(resource)
        ]


_queued = queueing.watcher


@functools.wraps(_queued)
async def _watcher(*, processor: Any, resource: Any, settings: Any, namespace: Any, **more: Any) -> None:
    registry = getattr(processor, "keywords", {}).get("registry")
    if not isinstance(registry, StraightRegistry):
        await _queued(processor=processor, resource=resource, settings=settings, namespace=namespace, **more)
        return
    handlers = registry.handlers(resource)
    paused = more.get("operator_paused")
    stream = watching.infinite_watch(settings=settings, resource=resource, namespace=namespace, operator_paused=paused)
    in_a_row = 0
    async for event in stream:
        if isinstance(event, watching.Bookmark) or event["type"] == "BOOKMARK":
            continue
        for handler in handlers:
            await _call(handler, event)
        in_a_row += 1
        if in_a_row % _EVENTS_IN_A_ROW == 0:
            await asyncio.sleep(0)


async def _call(handler: Handler, event: Any) -> None:
    try:
        await handler(event=event)
    except Exception:
        # An event that nobody can read must not end the stream of all the others; audits find what it left behind.
        logger.exception("an event could not be taken in")


queueing.watcher = _watcher
