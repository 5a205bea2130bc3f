"""From a template and its values to the manifest of a child.

Every value is printed by `tojson`, so nothing that a person wrote can change a manifest's structure. A name that a
template asks for and does not get is an error (`StrictUndefined`), never an empty string.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import yaml

from keras_operator.plan.desired import Desired, Template

HASH_ANNOTATION = "keras-operator.dev/applied-hash"
_TEMPLATES = Path(__file__).parent / "templates"
# Templates that are written once: a hash of them would only be noise on the object.
_WRITTEN_ONCE = {Template.VERSION, Template.TRAIN_JOB, Template.EXPORT_JOB}


class TemplateError(Exception):
    """A template cannot be printed: it is broken, or it asks for a value that does not exist."""


class Renderer:
    """Prints templates.

    Args:
        overrides: folder whose templates take the place of built-in ones of the same name, or None.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        folders = [_TEMPLATES] if overrides is None else [overrides, _TEMPLATES]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701 — the output is YAML, and every value goes through tojson
            keep_trailing_newline=True,
        )
        self._environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": True}
        self._printed = lru_cache(maxsize=4096)(self._print)

    def render(self, desired: Desired) -> dict[str, Any]:
        """The manifest of a desired object, with the hash of its content as an annotation where it is kept by apply.

        Raises:
            TemplateError: the template is broken or asks for a value that it is not given.
        """
        values = msgspec.json.encode(dict(desired.values), order="deterministic")
        manifest: dict[str, Any] = msgspec.json.decode(self._printed(desired.template, values))
        return manifest

    def _print(self, template: Template, values: bytes) -> bytes:
        name = f"{template.value}.yaml.j2"
        try:
            text = self._environment.get_template(name).render(msgspec.json.decode(values))
            manifest = yaml.load(text, Loader=yaml.CSafeLoader)
        except (jinja2.TemplateError, yaml.YAMLError) as error:
            raise TemplateError(f"template {name} cannot be printed: {error}") from error
        if template not in _WRITTEN_ONCE:
            content = msgspec.json.encode(manifest, order="deterministic")
            digest = hashlib.sha256(content).hexdigest()[:16]
            manifest["metadata"].setdefault("annotations", {})[HASH_ANNOTATION] = digest
        return msgspec.json.encode(manifest)
