"""The way of one version into one pod: fetch, verify, configure the runtime, wait until it serves."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Mapping

from model_server.agent.options import Options
from model_server.agent.runtime_client import RuntimeVersion, ask_runtime
from model_server.agent.runtime_config import MONITORING_CONFIG, models_config, write_atomically
from model_server.agent.status import AgentStatus, Phase, Trouble, VersionState, VersionStatus

_LOG = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS = 1.0
# What somebody has to repair (credentials, a damaged version) is looked at again this often: a Secret that was
# corrected heals the pod by itself.
_SLOW_RETRY_SECONDS = 30.0
_WAITING_POLL_SECONDS = 0.1
_SERVING_POLL_SECONDS = 1.0

# A fetch returns the servable's size in bytes, or raises `FetchFailed`. It blocks.
Fetch = Callable[[], int]


class FetchFailed(Exception):  # noqa: N818 - the outcome, not a mistake of the program
    """A fetch that did not succeed; `retryable` when it may succeed soon without anybody's help."""

    def __init__(self, reason: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class Agent:
    """Holds the state that the HTTP pages show, and the task that changes it."""

    def __init__(self, options: Options, fetch: Fetch) -> None:
        self._options = options
        self._fetch = fetch
        self._phase = Phase.FETCHING
        self._error: Trouble | None = None
        self._times = {"started": _now()}
        self._versions: Mapping[int, VersionStatus] = {}
        self._note(VersionStatus(options.version, VersionState.FETCHING))
        self._configured_at = 0.0

    @property
    def configured(self) -> bool:
        """Whether the runtime may start: its config file names a verified servable."""
        return "configured" in self._times

    @property
    def serving(self) -> bool:
        """Whether the runtime said, at the last look, that the wanted version is AVAILABLE."""
        return self._phase is Phase.SERVING

    @property
    def error(self) -> Trouble | None:
        """What is wrong now."""
        return self._error

    def status(self) -> AgentStatus:
        """The body of `/status`."""
        return AgentStatus(
            self._options.model_name,
            self._options.version,
            self._phase,
            [self._versions[number] for number in sorted(self._versions)],
            self._error,
            dict(self._times),
        )

    def stop(self) -> None:
        """The pod ends: it is not ready any more, while the runtime finishes what it has."""
        self._enter(Phase.STOPPING)

    async def run(self) -> None:
        """Bring the wanted version up and watch it, for ever."""
        size, seconds = await self._fetch_until_there()
        self._note(VersionStatus(self._options.version, VersionState.FETCHED, size, seconds))
        self._times["fetched"] = _now()
        await self._configure()
        self._enter(Phase.LOADING)
        while True:
            self._look(await asyncio.to_thread(ask_runtime, self._options.runtime_url, self._options.model_name))
            await asyncio.sleep(_SERVING_POLL_SECONDS if self.serving else _WAITING_POLL_SECONDS)

    async def _fetch_until_there(self) -> tuple[int, float]:
        retry = _FIRST_RETRY_SECONDS
        while True:
            start = time.monotonic()
            try:
                size = await asyncio.to_thread(self._fetch)
            except FetchFailed as error:
                self._report(Trouble(error.reason, str(error)))
                wait = min(retry, _SLOW_RETRY_SECONDS) if error.retryable else _SLOW_RETRY_SECONDS
                retry = min(retry * 2, _SLOW_RETRY_SECONDS)
                # Many pods lose the store at the same moment: they must not all come back at the same moment.
                await asyncio.sleep(wait * random.uniform(0.75, 1.0))  # noqa: S311 - no secret
            else:
                seconds = round(time.monotonic() - start, 3)
                self._report(None)
                _LOG.info("fetched version %d: %d bytes in %.1f s", self._options.version, size, seconds)
                return size, seconds

    async def _configure(self) -> None:
        options = self._options
        text = models_config(options.model_name, options.base_path, options.version)
        while True:
            try:
                write_atomically(options.monitoring_file, MONITORING_CONFIG)
                write_atomically(options.config_file, text)
            except OSError as error:
                self._report(
                    Trouble("DiskFull", f"cannot write {options.config_file}: {error.strerror}; free the volume")
                )
                await asyncio.sleep(_SLOW_RETRY_SECONDS)
            else:
                self._report(None)
                self._configured_at = time.monotonic()
                self._times["configured"] = _now()
                return

    def _look(self, found: Mapping[int, RuntimeVersion] | None) -> None:
        """Take note of what the runtime says; None when it does not answer.

        A runtime that does not answer is no trouble of the agent's: the pod's own status says why it does not run.
        """
        wanted = None if found is None else found.get(self._options.version)
        mine = self._versions[self._options.version]
        for number, version in (found or {}).items():
            if number != self._options.version:
                self._note(VersionStatus(number, version.state))
        if wanted is None:
            self._enter(Phase.LOADING)
            return
        load_seconds = mine.load_seconds
        if wanted.state == "AVAILABLE":
            if load_seconds is None:
                load_seconds = round(time.monotonic() - self._configured_at, 3)
                self._times["available"] = _now()
            self._enter(Phase.SERVING)
            self._report(None)
        else:
            self._enter(Phase.LOADING)
            if wanted.status.error_code not in {"OK", "0"} or wanted.state == "END":
                self._report(
                    Trouble(
                        "LoadFailed",
                        f"the runtime cannot load version {self._options.version} of {self._options.model_name}: "
                        f"{wanted.status.error_message or wanted.status.error_code}. Publish a version that loads.",
                    )
                )
        self._note(VersionStatus(mine.number, wanted.state, mine.bytes, mine.fetch_seconds, load_seconds))

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


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
