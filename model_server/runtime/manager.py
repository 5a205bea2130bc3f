"""Which versions are loaded, being loaded or being unloaded, and who is using them.

Everything here runs on the event loop's thread, so nothing is locked; loading and unloading themselves happen in
threads of their own. A version that replaces another is loaded first, and only when it is available is the other one
unloaded, after its last request.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import enum
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.servable import Servable

_LOG = logging.getLogger(__name__)
# TensorFlow Serving remembers ended versions for ever; a server that swaps hot for months must not.
_ENDED_KEPT = 20


class State(enum.IntEnum):
    """`ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(slots=True, eq=False)
class Version:
    """One version of a model in this process. `error` says why it ended, or why its last try to load failed."""

    model: str
    number: int
    path: Path
    state: State = State.START
    wanted: bool = True
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0
    idle: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Somebody uses the servable now: it is not unloaded before `release`."""
        self.users += 1
        self.idle.clear()

    def release(self) -> None:
        """The end of a `hold`."""
        self.users -= 1
        if self.users == 0:
            self.idle.set()


class Loan:
    """`with` it, a version is held for one request, and its servable is there."""

    __slots__ = ("_servable", "_version")

    def __init__(self, version: Version, servable: Servable) -> None:
        self._version = version
        self._servable = servable

    def __enter__(self) -> tuple[Version, Servable]:
        self._version.hold()
        return self._version, self._servable

    def __exit__(self, *_: object) -> None:
        self._version.release()


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed load is tried again, and after how many seconds."""

    retries: int = 5
    seconds: float = 60.0


class Manager:
    """Loads what is wanted, unloads what is not, and lends servables to requests."""

    def __init__(self, load: Callable[[Path], Servable], executor: Executor, retry: RetryPolicy) -> None:
        """`load` runs in `executor`, and raises ServingError when a servable cannot be loaded."""
        self._load = load
        self._executor = executor
        self._retry = retry
        self._models: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}

    def want(self, wanted: Mapping[str, Mapping[int, Path]]) -> None:
        """Aspire to exactly these versions: model name to number to folder. Returns at once, work goes on behind."""
        for name in self._models.keys() | wanted.keys():
            versions = self._models.setdefault(name, {})
            paths = wanted.get(name, {})
            for version in versions.values():
                version.wanted = version.number in paths
            for number, path in paths.items():
                old = versions.get(number)
                # An ended version starts anew when it was not wanted in between; a failed one stays ended.
                if old is None or (old.state is State.END and old.error is None):
                    versions[number] = Version(name, number, path)
            for version in versions.values():
                if not version.wanted and version.state is State.END:
                    version.error = None
            self._advance(name)

    def set_labels(self, labels: Mapping[str, Mapping[str, int]], *, allow_unavailable: bool = False) -> None:
        """Name versions by labels: model to label to number. Raises ServingError, and changes nothing then.

        A label may only name a version that is available, unless `allow_unavailable` and the label is new.
        """
        for name, entries in labels.items():
            for label, number in entries.items():
                version = self._models.get(name, {}).get(number)
                available = version is not None and version.state is State.AVAILABLE
                current = self._labels.get(name, {}).get(label, number)
                if not available and not (allow_unavailable and current == number):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is not currently "
                        "available for inference",
                    )
        self._labels = {name: dict(entries) for name, entries in labels.items()}

    async def settle(self, models: Iterable[str]) -> dict[str, str]:
        """Wait until each wanted version of these models is loaded or given up.

        Returns the models of which none is available, each with its versions' errors ("" where there is no version).
        """
        names = list(models)
        loading = [version.task for name in names for version in self.wanted(name) if version.task is not None]
        if loading:
            await asyncio.wait(loading)
        failed: dict[str, str] = {}
        for name in names:
            if not self.available(name):
                errors = (
                    f"version {version.number}: {version.error}" for version in self.wanted(name) if version.error
                )
                failed[name] = "; ".join(errors)
        return failed

    def knows(self, model: str) -> bool:
        """Whether this is or was the name of a model here."""
        return model in self._models

    def available(self, model: str) -> bool:
        """Whether a version of the model that is to be served answers requests."""
        return any(version.state is State.AVAILABLE for version in self.wanted(model))

    def all_available(self) -> bool:
        """Whether every model that is to be served answers requests."""
        return all(self.available(model) for model in self._models if self.wanted(model))

    def wanted(self, model: str) -> list[Version]:
        """The versions of a model that are to be served."""
        return [version for version in self._models.get(model, {}).values() if version.wanted]

    def serving(self) -> Iterator[tuple[str, Servable]]:
        """The models that answer requests, each with its newest available version."""
        for name in self._models:
            version = self._find(name, None)
            if version is not None and version.servable is not None:
                yield name, version.servable

    def versions(self, model: str, number: int | None = None) -> list[Version]:
        """The versions of a model (or the one asked for), newest first. Raises ServingError when there is none."""
        versions = self._models.get(model, {})
        if number is not None:
            if number not in versions:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {number} of model {model}")
            return [versions[number]]
        if not versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        return [versions[n] for n in sorted(versions, reverse=True)]

    def is_unloading(self, model: str, number: int) -> bool:
        """Whether this version waits for its last request, or is being freed."""
        version = self._models.get(model, {}).get(number)
        return version is not None and version.state is State.UNLOADING

    def number_of(self, model: str, label: str) -> int:
        """The version that a label names. Raises ServingError."""
        number = self._labels.get(model, {}).get(label)
        if number is None:
            raise invalid(f"Unrecognized servable version label: {label}")
        return number

    def lend(self, model: str, number: int | None = None, label: str | None = None) -> Loan:
        """The servable for one request, which is not unloaded before the context is left. Raises ServingError.

        Whoever hands it to a thread that may outlive the context must `hold` the version for that thread.
        """
        if label is not None:
            number = self.number_of(model, label)
        if not model:
            raise invalid("ModelSpec has no name specified.")
        version = self._find(model, number)
        if version is None or version.servable is None:
            request = f"Latest({model})" if number is None else f"Specific({model}, {number})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")
        return Loan(version, version.servable)

    def _find(self, model: str, number: int | None) -> Version | None:
        versions = self._models.get(model, {})
        if number is not None:
            version = versions.get(number)
            return version if version is not None and version.state is State.AVAILABLE else None
        newest: Version | None = None
        for version in versions.values():
            if version.state is State.AVAILABLE and (newest is None or version.number > newest.number):
                newest = version
        return newest

    def _advance(self, model: str) -> None:
        """Start every load and unload that may start now."""
        versions = list(self._models[model].values())
        for version in versions:
            if version.wanted and version.state is State.START and version.task is None:
                version.task = asyncio.create_task(self._bring_up(version))
            elif not version.wanted and version.state is State.LOADING and version.task is not None:
                version.task.cancel()
        for version in _unloadable(versions):
            version.state = State.UNLOADING
            version.task = asyncio.create_task(self._take_down(version))
        self._forget(model)

    def _forget(self, model: str) -> None:
        versions = self._models[model]
        ended = sorted(n for n, version in versions.items() if version.state is State.END and not version.wanted)
        for number in ended[:-_ENDED_KEPT]:
            del versions[number]

    async def _bring_up(self, version: Version) -> None:
        name = f"{version.model} version {version.number}"
        loop = asyncio.get_running_loop()
        if not version.wanted:
            version.state, version.task = State.END, None
            return
        version.state = State.LOADING
        loading: asyncio.Future[Servable] | None = None
        try:
            for attempt in range(self._retry.retries + 1):
                if attempt:
                    await asyncio.sleep(self._retry.seconds)
                _LOG.info("loading %s from %s", name, version.path)
                loading = loop.run_in_executor(self._executor, self._load_lean, version.path)
                try:
                    version.servable = await asyncio.shield(loading)
                except Exception as error:  # noqa: BLE001 - whatever a model does to its loader, the others go on
                    version.error = (
                        error if isinstance(error, ServingError) else ServingError(Code.INTERNAL, repr(error))
                    )
                    _LOG.error("cannot load %s (attempt %d): %s", name, attempt + 1, version.error)
                else:
                    version.error, version.state = None, State.AVAILABLE
                    _LOG.info("%s is available", name)
                    break
            else:
                version.state = State.END
        except asyncio.CancelledError:
            # A load cannot be interrupted: its result is freed when it comes.
            if loading is not None:
                loading.add_done_callback(self._discard)
            version.state = State.END
        version.task = None
        self._advance(version.model)

    def _load_lean(self, path: Path) -> Servable:
        """Load, in a thread of the executor."""
        servable = self._load(path)
        if not any(version.state is State.AVAILABLE for model in list(self._models) for version in self.wanted(model)):
            # The first one: nobody waits for an answer yet, and what loading took is not needed again for long.
            _trim()
        return servable

    def _discard(self, loading: asyncio.Future[Servable]) -> None:
        if not loading.cancelled() and loading.exception() is None:
            self._executor.submit(_free, loading.result())

    async def _take_down(self, version: Version) -> None:
        if version.users:
            await version.idle.wait()
        servable, version.servable = version.servable, None
        if servable is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, _free, servable)
        version.state, version.task = State.END, None
        _LOG.info("%s version %d is unloaded", version.model, version.number)
        self._advance(version.model)


def _unloadable(versions: Iterable[Version]) -> list[Version]:
    """The available versions that nobody wants and that may go: something else serves, or nothing is wanted at all.

    While no wanted version is available yet, the newest unwanted one stays.
    """
    unwanted = sorted((v for v in versions if not v.wanted and v.state is State.AVAILABLE), key=lambda v: v.number)
    serving = any(v.wanted and v.state is State.AVAILABLE for v in versions)
    if serving or not any(v.wanted for v in versions):
        return unwanted
    return unwanted[:-1]


def _free(servable: Servable) -> None:
    servable.close()
    _trim()


def _trim() -> None:
    # glibc keeps freed memory for itself: without this, a process that swaps models grows by one model a swap.
    ctypes.CDLL(None).malloc_trim(0)
