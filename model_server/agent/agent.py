"""The way of a version into a pod: fetch, verify, configure the runtime, wait until it serves, then retire the old one.

Two tasks: one watches the runtime, so that readiness follows it whatever else is going on; the other brings up what is
wanted. What serves is not touched before the new version answers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from model_server.agent.local_copies import LocalCopies
from model_server.agent.options import Options
from model_server.agent.runtime_client import RuntimeVersion, ask_metrics, ask_runtime, resident_memory
from model_server.agent.runtime_config import MONITORING_CONFIG, models_config, write_atomically
from model_server.agent.status import AgentStatus, Phase, Trouble, VersionState, VersionStatus
from model_server.agent.traffic import SAMPLE_SECONDS, Traffic, TrafficLog
from model_server.agent.wishes import Wishes

_LOG = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS = 1.0
# What somebody has to repair (credentials, a damaged version) is looked at again this often: a Secret that was
# corrected heals the pod by itself.
_SLOW_RETRY_SECONDS = 30.0
_WAITING_POLL_SECONDS = 0.1
_SERVING_POLL_SECONDS = 1.0
_WISH_POLL_SECONDS = 0.25
# A load that takes longer hangs: the Deployment of a rolling model gives its pods the same time.
_LOAD_SECONDS = 600.0
# The runtime reads its config file every second; what it says of a version sooner may be of an earlier try.
_RELOAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version that was brought: its size in `bytes`, and how many of them were `cached`."""

    bytes: int
    cached: int = 0


# A fetch brings a version, or raises `FetchFailed`. It blocks.
Fetch = Callable[[int], Fetched]


class FetchFailed(Exception):  # noqa: N818 - the outcome, not a mistake of the program
    """A fetch that did not succeed; `retryable` when it may succeed soon without anybody's help."""

    def __init__(self, reason: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class Agent:
    """Holds the state that the HTTP pages show, and the tasks that change it.

    Args:
        options: where things are.
        wishes: which version is wanted.
        fetch: brings a version to the volume.
    """

    def __init__(self, options: Options, wishes: Wishes, fetch: Fetch) -> None:
        self._options = options
        self._wishes = wishes
        self._fetch = fetch
        self._copies = LocalCopies(options.base_path)
        self._traffic = TrafficLog(options.model_name)
        self._phase = Phase.FETCHING
        self._error: Trouble | None = None
        self._times = {"started": _now()}
        self._versions: Mapping[int, VersionStatus] = {}
        self._wanted: int | None = None
        self._current: int | None = None
        self._retiring: int | None = None
        self._given_up: int | None = None
        self._available = False
        self._swaps = 0
        self._memory: int | None = None
        self._found: Mapping[int, RuntimeVersion] | None = None
        self._looked = asyncio.Event()
        self._configured_at = 0.0

    @property
    def configured(self) -> bool:
        """Whether the runtime may start: its config file names a verified servable."""
        return "configured" in self._times

    @property
    def serving(self) -> bool:
        """Whether the runtime said, at the last look, that what this pod serves is AVAILABLE."""
        return self._available and self._phase is not Phase.STOPPING

    @property
    def error(self) -> Trouble | None:
        """What is wrong now."""
        return self._error

    def status(self) -> AgentStatus:
        """The body of `/status`."""
        return AgentStatus(
            self._options.model_name,
            self._wanted,
            self._serving,
            self._swaps,
            self._memory,
            self._phase,
            [self._versions[number] for number in sorted(self._versions)],
            self._error,
            dict(self._times),
        )

    @property
    def _serving(self) -> int | None:
        """The version that answers predictions."""
        return (self._retiring or self._current) if self._available else None

    def traffic(self, seconds: float) -> Traffic:
        """The body of `/traffic/<seconds>`."""
        return self._traffic.last(seconds)

    def stop(self) -> None:
        """The pod ends: it is not ready any more, while the runtime finishes what it has."""
        self._enter(Phase.STOPPING)

    async def run(self) -> None:
        """Bring up what is wanted and watch it, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work())
            tasks.create_task(self._watch())
            tasks.create_task(self._count_traffic())

    async def _work(self) -> None:
        while True:
            number = self._hear()
            if number is not None and number not in (self._current, self._given_up):
                await self._bring(number)
            else:
                await asyncio.sleep(_WISH_POLL_SECONDS)

    def _hear(self) -> int | None:
        """What is wanted now. What was given up may be tried again once something else was wanted."""
        wanted = self._wishes.wanted()
        if wanted != self._wanted:
            _LOG.info("version %s is wanted", wanted)
            self._wanted = wanted
            self._given_up = None
            self._report(None)
            if wanted is not None and wanted not in self._versions:
                self._note(VersionStatus(wanted, VersionState.FETCHING))
        return wanted

    async def _watch(self) -> None:
        while True:
            if self.configured:
                found = await asyncio.to_thread(ask_runtime, self._options.runtime_url, self._options.model_name)
                self._look(found)
                self._looked.set()
            at_rest = self._available and self._wanted in (self._current, self._given_up) and self._retiring is None
            await asyncio.sleep(_SERVING_POLL_SECONDS if at_rest else _WAITING_POLL_SECONDS)

    async def _count_traffic(self) -> None:
        """For whoever compares versions, be they swapped in place or each in pods of its own."""
        while True:
            page = await self._metrics() if self._available else None
            if page is not None:
                self._traffic.sample(page, self._serving)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _metrics(self) -> str | None:
        page = await asyncio.to_thread(ask_metrics, self._options.runtime_url)
        if page is not None:
            self._memory = resident_memory(page)
        return page

    # From one version to the next.

    async def _bring(self, number: int) -> None:
        if not await self._fetched(number):
            return
        if self._current is None:
            if await self._configure(number):
                self._current = number
                self._enter(Phase.LOADING)
            return
        before = self._current
        # A version that does not serve is not worth the memory of two.
        kept = before if self._available else None
        stale = self._found.get(number) if self._found else None
        if not await self._configure(*(one for one in (kept, number) if one is not None)):
            return
        self._enter(Phase.LOADING)
        if not await self._loaded(number, kept, stale):
            # Also when something else is wanted by now: at once back to what serves.
            await self._settle_on(before)
            self._enter(Phase.SERVING if self._available else Phase.LOADING)
            return
        self._retiring = kept
        self._current = number
        await self._settle_on(number)
        if kept is not None:
            await self._retired(kept)
            # Whoever learns of the swap learns what is left in memory without the old version.
            await self._metrics()
            self._swaps += 1
            _LOG.info("version %d took the place of version %d", number, kept)
        self._retiring = None
        # The one before stays on the volume, so that going back needs no store.
        await asyncio.to_thread(self._copies.keep_only, (number, before))

    async def _fetched(self, number: int) -> bool:
        """Bring a version to the volume; False when another one is wanted before it is there."""
        retry = _FIRST_RETRY_SECONDS
        while self._hear() == number:
            size, start = self._copies.size(number), time.monotonic()
            if size is not None:
                self._note(VersionStatus(number, VersionState.FETCHED, size, fetch_seconds=0.0))
                return True
            self._note(VersionStatus(number, VersionState.FETCHING))
            if self._current is not None:
                self._enter(Phase.FETCHING)
            try:
                fetched = await asyncio.to_thread(self._fetch, number)
            except FetchFailed as error:
                if error.reason == "DiskFull" and self._copies.keep_only((number, self._current or number)):
                    continue
                self._report(Trouble(error.reason, str(error)))
                wait = min(retry, _SLOW_RETRY_SECONDS) if error.retryable else _SLOW_RETRY_SECONDS
                retry = min(retry * 2, _SLOW_RETRY_SECONDS)
                # Many pods lose the store at the same moment: they must not all come back at the same moment.
                await self._pause(number, wait * random.uniform(0.75, 1.0))  # noqa: S311 - no secret
            else:
                seconds = round(time.monotonic() - start, 3)
                self._report(None)
                size, cached = fetched.bytes, fetched.cached
                self._copies.verified(number, size)
                self._note(VersionStatus(number, VersionState.FETCHED, size, cached, seconds))
                self._times["fetched"] = _now()
                _LOG.info("fetched version %d: %d bytes in %.1f s, %d from the cache", number, size, seconds, cached)
                return True
        return False

    async def _pause(self, number: int, seconds: float) -> None:
        """Wait so long, or until another version is wanted."""
        steps = max(1, round(seconds / _WISH_POLL_SECONDS))
        for _ in range(steps):
            if self._hear() != number:
                return
            await asyncio.sleep(seconds / steps)

    async def _configure(self, *numbers: int) -> bool:
        """Have the runtime serve these; False when another version is wanted before that could be written."""
        options, wanted = self._options, self._wanted
        text = models_config(options.model_name, options.base_path, *numbers)
        while True:
            try:
                write_atomically(options.monitoring_file, MONITORING_CONFIG)
                write_atomically(options.config_file, text)
            except OSError as error:
                self._report(
                    Trouble("DiskFull", f"cannot write {options.config_file}: {error.strerror}; free the volume")
                )
                await self._pause(wanted or 0, _SLOW_RETRY_SECONDS)
                if self._hear() != wanted:
                    return False
            else:
                if self._error is not None and self._error.reason == "DiskFull":
                    self._report(None)
                self._configured_at = time.monotonic()
                self._times.setdefault("configured", _now())
                return True

    async def _settle_on(self, number: int) -> None:
        """Have the runtime serve one version and no other, whatever is wanted by now."""
        while not await self._configure(number):
            pass

    async def _loaded(self, number: int, kept: int | None, stale: RuntimeVersion | None) -> bool:
        """Wait until a version is AVAILABLE beside the one that serves; False, and given up, when it cannot be."""
        begun = time.monotonic()
        while self._hear() == number:
            await self._next_look()
            waited = time.monotonic() - begun
            found = self._found
            version = None if found is None else found.get(number)
            if version is not None and version.state == "AVAILABLE":
                return True
            if waited > _RELOAD_SECONDS or (stale is not None and version is not None and version != stale):
                stale = None
            if found is not None and kept is not None and _state(found, kept) != "AVAILABLE":
                fault = (
                    "the runtime ended while it loaded it; raise spec.serving.resources.limits.memory if it was that"
                )
            elif version is not None and stale is None and (failure := _failure(version)):
                fault = f"{failure}. Publish a version that loads"
            elif waited > _LOAD_SECONDS:
                fault = f"it is not loaded after {_LOAD_SECONDS:.0f} s. Publish a version that loads"
            else:
                continue
            self._given_up = number
            on = "" if kept is None else f", and version {kept} goes on"
            self._report(
                Trouble(
                    "LoadFailed",
                    f"the runtime cannot load version {number} of {self._options.model_name}{on}: {fault}.",
                )
            )
            return False
        return False

    async def _retired(self, number: int) -> None:
        """Wait until a version is unloaded: until then it may still answer."""
        while self._found is None or _state(self._found, number) in ("AVAILABLE", "UNLOADING", "LOADING"):
            await self._next_look()

    async def _next_look(self) -> None:
        self._looked.clear()
        await self._looked.wait()

    # What the runtime says.

    def _look(self, found: Mapping[int, RuntimeVersion] | None) -> None:
        """Take note of what the runtime says; None when it does not answer.

        A runtime that does not answer is no trouble of the agent's: the pod's own status says why it does not run.
        """
        self._found = found
        for number, version in (found or {}).items():
            known = self._versions.get(number, VersionStatus(number, version.state))
            seconds = known.load_seconds
            if version.state == "AVAILABLE" and seconds is None:
                seconds = round(time.monotonic() - self._configured_at, 3)
            self._note(msgspec.structs.replace(known, state=version.state, load_seconds=seconds))
        current = None if found is None or self._current is None else found.get(self._current)
        self._available = current is not None and current.state == "AVAILABLE"
        if self._wanted not in (self._current, self._given_up):
            return
        self._enter(Phase.SERVING if self._available else Phase.LOADING)
        if self._available:
            self._times.setdefault("available", _now())
            if self._given_up is None:
                self._report(None)
        elif current is not None and self._given_up is None and (failure := _failure(current, ended=True)):
            words = f"the runtime cannot load version {self._current} of {self._options.model_name}: {failure}"
            self._report(Trouble("LoadFailed", f"{words}. Publish a version that loads."))

    def _note(self, version: VersionStatus) -> None:
        self._versions = {**self._versions, version.number: version}

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase and self._phase is not Phase.STOPPING:
            _LOG.info("%s -> %s", self._phase, phase)
            self._phase = phase

    def _report(self, trouble: Trouble | None) -> None:
        if trouble != self._error:
            self._error = trouble
            if trouble is not None:
                _LOG.error("%s: %s", trouble.reason, trouble.message)


def _state(found: Mapping[int, RuntimeVersion], number: int) -> str:
    version = found.get(number)
    return "" if version is None else version.state


def _failure(version: RuntimeVersion, *, ended: bool = False) -> str:
    """The runtime's words about a version that it could not load, or empty; `ended` when an END alone says so."""
    if version.status.error_code not in {"OK", "0"} or (ended and version.state == "END"):
        return (version.status.error_message or version.status.error_code).rstrip(".")
    return ""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
