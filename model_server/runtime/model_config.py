"""Which versions of which models to serve: the model config file, and the version folders on disk."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.protobufs import ModelServerConfig, parse_text_proto

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclasses.dataclass(frozen=True, slots=True)
class Latest:
    """Serve the versions with the highest numbers."""

    count: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class All:
    """Serve every version there is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Specific:
    """Serve exactly these numbers."""

    numbers: frozenset[int]


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: where its version folders lie, which of them to serve, and what labels name them."""

    name: str
    base_path: Path
    policy: Latest | All | Specific = Latest()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def find_versions(self) -> dict[int, Path]:
        """The folders of the wanted versions that exist now, by number. Raises ServingError without the base path.

        Anything in the base path whose name is not a number is ignored.
        """
        try:
            children = list(self.base_path.iterdir())
        except OSError as error:
            raise invalid(
                f"Could not find base path {self.base_path} for servable {self.name} with error {error.strerror}"
            ) from error
        found = {int(child.name): child for child in sorted(children) if _NUMBER.fullmatch(child.name)}
        match self.policy:
            case Specific(numbers):
                return {number: path for number, path in found.items() if number in numbers}
            case Latest(count):
                return {number: found[number] for number in sorted(found, reverse=True)[:count]}
            case All():
                return found


def single_model(name: str, base_path: str) -> list[ModelConfig]:
    """The configuration that `--model_name` and `--model_base_path` stand for."""
    return [ModelConfig(name, Path(base_path))]


def parse_model_config(text: str, source: str) -> list[ModelConfig]:
    """The models of a text-format ModelServerConfig that came from file `source`. Raises ServingError."""
    return models_of(parse_text_proto(text, ModelServerConfig(), source), source)


def models_of(message: Any, source: str) -> list[ModelConfig]:
    """The models of a ModelServerConfig that came from `source`. Raises ServingError."""
    if message.WhichOneof("config") == "custom_model_config":
        raise ServingError(
            Code.UNIMPLEMENTED, f"{source}: custom_model_config is not supported, write model_config_list"
        )
    models = [_model(entry, source) for entry in message.model_config_list.config]
    names = [model.name for model in models]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise invalid(f"Illegal to list model {double} multiple times in config list")
    return models


def _model(entry: Any, source: str) -> ModelConfig:
    if not entry.name:
        raise invalid(f"{source}: a config of model_config_list has no name")
    if not entry.base_path:
        raise invalid(f"{source}: model {entry.name} has no base_path")
    if entry.model_platform not in {"", "tensorflow"}:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f'{source}: model {entry.name} has model_platform "{entry.model_platform}", '
            'this server has "tensorflow" only',
        )
    policy: Latest | All | Specific
    match entry.model_version_policy.WhichOneof("policy_choice"):
        case "all":
            policy = All()
        case "specific":
            policy = Specific(frozenset(entry.model_version_policy.specific.versions))
        case _:
            policy = Latest(max(1, entry.model_version_policy.latest.num_versions))
    return ModelConfig(entry.name, Path(entry.base_path), policy, dict(entry.version_labels))
