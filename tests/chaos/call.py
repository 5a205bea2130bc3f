"""A request of the operator to the API server, and what makes it one of its kind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_NAMESPACE = re.compile(r"/namespaces/[^/]+")
# An Event's name ends with a digest of what it says, in which there is a uid.
_EVENT_NAME = re.compile(r"(/events/.*\.)[0-9a-f]{16}$")


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None

    @property
    def watches(self) -> bool:
        """Whether its answer is a stream of changes."""
        return self.query.get("watch") == "true"

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method in WRITING

    @property
    def plural(self) -> str:
        """The resource that it is about, e.g. `jobs`; empty for discovery."""
        parts = self.path.strip("/").split("/")
        at = parts.index("namespaces") + 2 if "namespaces" in parts[:-2] else 2 if parts[0] == "api" else 3
        return parts[at] if len(parts) > at else ""

    @property
    def about_lease(self) -> bool:
        """Whether it is part of the election and no work."""
        return self.plural == "leases"

    @property
    def signature(self) -> str:
        """What two calls share that do the same in a life: names the step of the life, and no namespace or uid."""
        path = _EVENT_NAME.sub(r"\1*", _NAMESPACE.sub("", self.path))
        return " ".join(("WATCH" if self.watches else self.method, path, *self._details()))

    def _details(self) -> list[str]:
        body = self.body
        if self.path.endswith("/status") and isinstance(body, list):
            return [str(step["value"].get("phase")) for step in body if step.get("path") == "/status"]
        if not isinstance(body, dict):
            return []
        if self.method == "POST":
            return [str(body.get("reason") or body.get("metadata", {}).get("name", ""))]
        template = (body.get("spec") or {}).get("template", {})
        version = template.get("metadata", {}).get("labels", {}).get("keras-operator.dev/version")
        manager = self.query.get("fieldManager")
        return [*([manager] if manager else []), *([f"version {version}"] if version else [])]


def decoded(data: bytes) -> Any:
    """A body as a value; None where there is none, or no JSON."""
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
