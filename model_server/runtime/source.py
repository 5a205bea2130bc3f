"""Watches the config file and the version folders, and tells the manager what to serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_server.runtime.errors import Code, ServingError, invalid
from model_server.runtime.manager import Manager
from model_server.runtime.model_config import ModelConfig, Specific, models_of, parse_model_config

_LOG = logging.getLogger(__name__)


class ModelSource:
    """The models to serve, from a fixed list or from a file that is read again and again."""

    def __init__(
        self,
        manager: Manager,
        *,
        models: list[ModelConfig] | None = None,
        config_file: Path | None = None,
        allow_unavailable_labels: bool = False,
    ) -> None:
        """Exactly one of `models` and `config_file` is given."""
        self._manager = manager
        self._file = config_file
        self._allow_unavailable_labels = allow_unavailable_labels
        self._models: list[ModelConfig] = models or []
        self._applied: str | None = None
        self._complaints: dict[str, str] = {}

    def start(self) -> None:
        """Read the configuration for the first time. Raises ServingError when it cannot be used."""
        if self._file is not None:
            text = self._read(self._file)
            self._apply(text, parse_model_config(text, str(self._file)))
        self.scan()

    async def poll(self, config_seconds: float, folder_seconds: float) -> None:
        """Look again for ever, at the config file and the folders, each after so many seconds; 0 is never."""
        loops = [self._every(config_seconds, self.reload)] if self._file is not None and config_seconds > 0 else []
        if folder_seconds > 0:
            loops.append(self._every(folder_seconds, self.scan))
        await asyncio.gather(*loops)

    @staticmethod
    async def _every(seconds: float, look: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            look()

    def reload(self) -> None:
        """Read the config file again. A file that cannot be used is reported once and the old configuration stays."""
        if self._file is None:
            return
        try:
            text = self._read(self._file)
            if text != self._applied:
                self._apply(text, parse_model_config(text, str(self._file)))
                _LOG.info("applied %s: models %s", self._file, [model.name for model in self._models])
                self.scan()
            self._complaints.pop("config", None)
        except ServingError as error:
            self._complain("config", f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error}")

    async def replace(self, config: Any) -> None:
        """Serve what a ModelServerConfig message says, until the config file changes or another message comes.

        Returns when the models of which nothing was available have loaded. Raises ServingError when the message
        cannot be used, and changes nothing then; and when one of those models has no version that could be loaded.
        """
        if config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        models = models_of(config, "ReloadConfigRequest")
        new = [model.name for model in models if not self._manager.available(model.name)]
        self._apply(self._applied, models)
        _LOG.info("applied a ReloadConfigRequest: models %s", [model.name for model in models])
        self.scan()
        failed = await self._manager.settle(new)
        if failed:
            reasons = [f"{name}: {self._complaints.get(name, error)}" for name, error in failed.items()]
            raise ServingError(Code.UNKNOWN, f"Some models did not become available: {'; '.join(reasons)}")

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise invalid(f"cannot read the model config file {path}: {error}") from error

    def _apply(self, text: str | None, models: list[ModelConfig]) -> None:
        labels = {model.name: model.labels for model in models if model.labels}
        self._manager.set_labels(labels, allow_unavailable=self._allow_unavailable_labels)
        self._models, self._applied = models, text

    def scan(self) -> None:
        """Look which wanted versions exist. A base path that cannot be read is reported once and changes nothing."""
        wanted: dict[str, dict[int, Path]] = {}
        for model in self._models:
            try:
                found = model.find_versions()
            except ServingError as error:
                self._complain(model.name, str(error))
                found = {version.number: version.path for version in self._manager.wanted(model.name)}
            else:
                self._check_found(model, found)
            wanted[model.name] = found
        self._manager.want(wanted)

    def _check_found(self, model: ModelConfig, found: dict[int, Path]) -> None:
        missing = sorted(model.policy.numbers - found.keys()) if isinstance(model.policy, Specific) else []
        if missing:
            self._complain(
                model.name,
                f"versions {missing} of {model.name} are to be served but are not under {model.base_path}",
            )
        elif not found:
            self._complain(
                model.name,
                f"No versions of servable {model.name} found under base path {model.base_path}. Did you forget to name "
                "your leaf directory as a number (eg. '/1/')?",
            )
        else:
            self._complaints.pop(model.name, None)

    def _complain(self, about: str, message: str) -> None:
        if self._complaints.get(about) != message:
            self._complaints[about] = message
            _LOG.error("%s", message)
