"""Object storage in memory, and what a run does there with the project's own claim and manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from keras_operator.api import RunError, RunReason, RunResult, RunSpec, RunStage, Servable

from model_store import AlreadyExists, Entry, Manifest, ManifestFile, NotFound, NumberTaken, claim
from model_store.manifest import digest_of, read_manifest, run_key, write_manifest


class MemoryStore:
    """One store; as much of `model_store.Store` as claims and manifests need."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.objects: dict[str, bytes] = {}

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object in a folder and below."""
        return (Entry(key, len(data)) for key, data in sorted(self.objects.items()) if key.startswith(prefix))

    def folders(self, prefix: str = "") -> Iterator[str]:
        """Names of the folders directly in a folder."""
        root = f"{prefix}/" if prefix else ""
        rests = (key.removeprefix(root) for key in self.objects if key.startswith(root))
        return iter(dict.fromkeys(rest.partition("/")[0] for rest in rests if "/" in rest))

    def entry(self, key: str) -> Entry:
        """Runs are only played here."""
        raise NotImplementedError

    def read(self, key: str, *, limit: int, etag: str | None = None) -> bytes:
        """An object's bytes."""
        del etag
        if key not in self.objects:
            raise NotFound(f"{self.uri}/{key} is not there")
        return self.objects[key][:limit]

    def write(self, key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        """Store bytes."""
        if only_if_absent and key in self.objects:
            raise AlreadyExists(f"{self.uri}/{key} is there")
        self.objects[key] = data

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return key in self.objects

    def download(self, key: str, path: Path, *, limit: int | None = None, etag: str | None = None) -> str:
        """Runs are only played here."""
        raise NotImplementedError

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """Runs are only played here."""
        raise NotImplementedError

    def holds(self, key: str, *, size: int, sha256: str) -> bool:
        """Runs are only played here."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.objects.pop(key, None)


@dataclass(slots=True)
class ObjectStorage:
    """All stores, and what happened in them.

    Attributes:
        published: who published a number under a uri, and the digest.
        accuracy: what each version's training measured, by the version's uid.
    """

    random: Random
    stores: dict[str, MemoryStore] = field(default_factory=dict)
    published: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    def run(self, spec: RunSpec, stage: RunStage) -> RunResult:
        """What a container does that is neither killed nor broken."""
        store = self.stores.setdefault(spec.store.uri, MemoryStore(spec.store.uri))
        try:
            claim(store, spec.number, spec.owner)
        except NumberTaken as taken:
            error = RunError(reason=RunReason.NUMBER_TAKEN, message=str(taken), next_number=taken.next_free)
            return RunResult(stage=stage, ok=False, error=error)
        return self._train(store, spec) if stage is RunStage.TRAIN else self._export(store, spec)

    def _train(self, store: MemoryStore, spec: RunSpec) -> RunResult:
        measured = self.accuracy.setdefault(spec.owner, round(self.random.uniform(0.5, 0.99), 3))
        store.write(run_key(spec.number, "model.keras"), spec.owner.encode())
        return RunResult(stage=RunStage.TRAIN, ok=True, metrics={"accuracy": measured, "loss": 1 - measured})

    def _export(self, store: MemoryStore, spec: RunSpec) -> RunResult:
        if spec.training is not None and not store.exists(run_key(spec.number, "model.keras")):
            error = RunError(reason=RunReason.BAD_SAVED_MODEL, message="there is no trained model")
            return RunResult(stage=RunStage.EXPORT, ok=False, error=error)
        file = ManifestFile("saved_model.pb", 1, hashlib.sha256(spec.owner.encode()).hexdigest())
        digest = digest_of([file])
        manifest = Manifest(number=spec.number, digest=digest, bytes=1, files=[file], created_at="2026-01-01T00:00:00Z")
        key = (spec.store.uri, spec.number)
        try:
            write_manifest(store, manifest)
            self.published[key] = (spec.owner, digest)
        except AlreadyExists:
            found = read_manifest(store, spec.number)
            if found.digest != digest:
                error = RunError(reason=RunReason.ALREADY_PUBLISHED, message="another servable is published there")
                return RunResult(stage=RunStage.EXPORT, ok=False, error=error)
        servable = Servable(uri=f"{spec.store.uri}/{spec.number}", digest=digest, bytes=1)
        return RunResult(stage=RunStage.EXPORT, ok=True, servable=servable)
