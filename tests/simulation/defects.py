"""The operator broken by hand, one way at a time: what a simulator that can find something must find.

Each is a context in which the operator's own code is replaced where it matters, and the rule that must catch it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

from keras_operator import reconcile
from keras_operator.cluster.audit import Audit
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.client import Client
from keras_operator.cluster.failure import AlreadyExists
from keras_operator.cluster.queue import KeyedQueue
from keras_operator.plan import decide, run, serving, versions
from keras_operator.plan.observed import Deployment
from keras_operator.reconcile import Reconciler

from tests.simulation.run import CHAOS_STEPS, FoundError, simulate

Change = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Defect:
    """A way to be wrong, words of the rules of which one must catch it, and whether a world or two are enough."""

    change: Change
    caught_by: tuple[str, ...]
    quick: bool = True


def _replaced(owner: object, name: str, value: object) -> Change:
    return lambda: mock.patch.object(owner, name, value)


@contextlib.contextmanager
def _reuses_numbers() -> Iterator[None]:
    """The next number is the count of what is there plus one."""
    original = versions._new_version

    def counted(observed: Any, model: Any, spec: Any, wanted: str, _latest: int) -> Any:
        forgetful = dataclasses.replace(observed, foreign_numbers=frozenset(), least_number=0)
        return original(forgetful, model, spec, wanted, len(observed.versions))

    with mock.patch.object(versions, "_new_version", counted):
        yield


@contextlib.contextmanager
def _creates_again() -> Iterator[None]:
    """A Job that is there already is deleted and made anew, instead of taken as it is."""
    original = Client.create

    async def create(self: Client, manifest: Any) -> Any:
        try:
            return await original(self, manifest)
        except AlreadyExists:
            ref = self.kinds.ref(manifest)
            body = await self.get(ref)
            if body is None or ref.kind.kind != "Job":
                raise
            await self.delete(ref, body["metadata"]["uid"])
            return await original(self, manifest)

    with mock.patch.object(Client, "create", create):
        yield


@contextlib.contextmanager
def _takes_over() -> Iterator[None]:
    """Whatever has a child's name is taken for the child."""
    with mock.patch.object(reconcile, "_is_somebody_elses", return_value=False):
        yield


@contextlib.contextmanager
def _checks_no_state() -> Iterator[None]:
    """A status is written whatever the object is by now."""

    async def apply_status(self: Client, ref: Any, _uid: str, status: Any, _version: Any = None) -> Any:
        return await self._transport.json(
            "apply_status",
            ref.kind,
            ref.kind.path(ref.namespace, ref.name, "status"),
            method="PATCH",
            query={"fieldManager": "keras-operator"},
            body=[{"op": "add", "path": "/status", "value": status}],
            content_type="application/json-patch+json",
        )

    with mock.patch.object(Client, "apply_status", apply_status):
        yield


@contextlib.contextmanager
def _ready_early() -> Iterator[None]:
    """A Deployment counts as rolled out as soon as it is written."""
    with mock.patch.object(Deployment, "rolled_out", property(lambda _self: True)):
        yield


@contextlib.contextmanager
def _serves_unpublished() -> Iterator[None]:
    """The current version is rolled out before it is published."""
    original = serving.wanted_number

    def wanted(observed: Any, spec: Any, current: Any) -> Any:
        return serving.Wanted(current.number) if current is not None else original(observed, spec, current)

    with mock.patch.object(decide, "wanted_number", wanted):
        yield


@contextlib.contextmanager
def _buries_for_ever() -> Iterator[None]:
    """An object whose label was taken off never comes back."""
    original = Cache._bury
    with mock.patch.object(Cache, "_bury", lambda self, ref, uid, _version: original(self, ref, uid, "")):
        yield


@contextlib.contextmanager
def _forgets_failures() -> Iterator[None]:
    """What failed is not tried again until something changes."""
    with mock.patch.object(KeyedQueue, "retry", lambda _self, _key, at_least=0.0: at_least):
        yield


@contextlib.contextmanager
def _writes_at_rest() -> Iterator[None]:
    """Every look applies every child."""
    with mock.patch.object(Reconciler, "_in_sync", return_value=False):
        yield


@contextlib.contextmanager
def _hurries_results() -> Iterator[None]:
    """A Job's end counts before its pod was seen to end."""
    with mock.patch.object(run, "_awaits_last_pod", return_value=False), mock.patch.object(run, "_RESULT_GRACE", _NONE):
        yield


_NONE = run._RESULT_GRACE * 0

DEFECTS = {
    "reuses numbers": Defect(_reuses_numbers, ("a number is never used again", "the newest version stays known")),
    "creates a Job again": Defect(
        _creates_again, ("one Job for each run", "only what is not wanted is removed"), quick=False
    ),
    "drops the owner check": Defect(_takes_over, ("nothing is taken over",)),
    "checks neither uid nor state": Defect(
        _checks_no_state, ("a status says what is so", "what was measured stays", "stays"), quick=False
    ),
    "claims Ready early": Defect(_ready_early, ("a status says what is so",)),
    "serves before it is published": Defect(_serves_unpublished, ("only a published version serves",)),
    "takes no audit's word": Defect(_replaced(Audit, "_heal", lambda *_: None), ("every model arrives",), quick=False),
    "buries for ever what lost its label": Defect(_buries_for_ever, ("every model arrives", "at rest"), quick=False),
    "tries nothing again": Defect(_forgets_failures, ("every model arrives",), quick=False),
    "applies at each look": Defect(_writes_at_rest, ("at rest nothing is written", "a restart at rest")),
    "hurries results": Defect(_hurries_results, ("a status says what is so",)),
}


def first_found(name: str, seeds: Iterable[int], chaos_steps: int = CHAOS_STEPS) -> str | None:
    """What the first of these worlds that finds it by a rule that must catch it says of an operator with this defect.

    Where none does, what the first says that finds anything: one defect may break several rules.
    """
    otherwise = None
    with DEFECTS[name].change():
        for seed in seeds:
            try:
                simulate(seed, chaos_steps)
            except FoundError as error:
                found = str(error).splitlines()[-2]
                if any(rule in found for rule in DEFECTS[name].caught_by):
                    return found
                otherwise = otherwise or found
    return otherwise


def main() -> int:
    """`python -m tests.simulation.defects`: a line for each defect; 0 where each was found."""
    missed = 0
    for name in DEFECTS:
        found = first_found(name, range(40))
        missed += found is None
        print(f"{name}: {found or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
