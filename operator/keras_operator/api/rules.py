"""Rules that a type alone cannot say: once in CEL for the API server, once in Python for everything else."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One rule about a value, with the sentence for whoever breaks it.

    `cel` sees the JSON value as `self`; `holds` sees the decoded value. `holds` is None where only the API server can
    know (a rule about a change, or about `metadata`). The sentence says what to write instead; the field and the value
    are put before it by the API server, or by `ApiError`.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None

    def schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}


def fully_matches(pattern: str, message: str) -> Rule:
    """The whole string matches `pattern` (a regular expression that RE2 and Python read alike, without quotes)."""
    compiled = re.compile(pattern)
    return Rule(
        cel=f"self.matches(r'^(?:{pattern})$')",
        message=message,
        holds=lambda value: compiled.fullmatch(value) is not None,
    )


def ruled(*rules: Rule) -> dict[str, tuple[Rule, ...]]:
    """The `extra` of a `msgspec.Meta`: rules about the field that it annotates."""
    return {"rules": rules}
