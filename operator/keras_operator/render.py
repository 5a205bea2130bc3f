"""From a template and its values to the manifest of a child.

Every value is printed by `tojson`, so nothing that a person wrote can change a manifest's structure. A name that a
template asks for and does not get is an error (`StrictUndefined`), never an empty string.
"""

import hashlib
import json
import re
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


# The two halves that JSON writes a character beyond U+FFFF in.
_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")


class _Loader(yaml.CSafeLoader):
    """YAML 1.1, where `1e-05` is a word, with JSON's numbers."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+$"), list("-0123456789")
)


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
        self._environment.policies["json.dumps_function"] = _quoted
        self._environment.policies["json.dumps_kwargs"] = {}
        self._environment.filters["literally"] = _literally
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
            manifest = yaml.load(text, Loader=_Loader)  # noqa: S506 — a safe loader with one more number
        except (jinja2.TemplateError, yaml.YAMLError) as error:
            raise TemplateError(f"template {name} cannot be printed: {error}") from error
        if not _is_object(manifest):
            raise TemplateError(
                f"template {name} cannot be printed: it must be an object with apiVersion, kind and metadata.name"
            )
        if template not in _WRITTEN_ONCE:
            content = msgspec.json.encode(manifest, order="deterministic")
            digest = hashlib.sha256(content).hexdigest()[:16]
            manifest["metadata"].setdefault("annotations", {})[HASH_ANNOTATION] = digest
        return msgspec.json.encode(manifest)


def _is_object(manifest: Any) -> bool:
    named = isinstance(manifest, dict) and isinstance(metadata := manifest.get("metadata"), dict) and "name" in metadata
    return named and {"apiVersion", "kind"} <= manifest.keys()


def _quoted(value: Any) -> str:
    """JSON that YAML reads as the same: in ASCII, without a pair of surrogates for one character."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=_undefined).replace("\x7f", "\\u007f")
    return _SURROGATES.sub(_one_character, text)


def _undefined(value: object) -> object:
    # Raises UndefinedError with the name that the template asked for.
    return str(value)


def _one_character(pair: re.Match[str]) -> str:
    high, low = (int(half, 16) for half in pair.groups())
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _literally(text: str) -> str:
    """What a container is given as `text`: the kubelet puts variables in the place of `$(NAME)`."""
    return text.replace("$", "$$")
