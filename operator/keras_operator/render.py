"""From a template and its values to the manifest of a child.

Every value is printed by `tojson`, so nothing that a person wrote can change a manifest's structure. A name that a
template asks for and does not get is an error (`StrictUndefined`), never an empty string.

Printing YAML and reading it takes milliseconds, and the children of thousands of models differ in a few plain words.
So a built-in template is printed with marks in the place of such words, once, and later only the words are put in.
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


# Words that YAML, JSON and the filters of templates take as they are, and so may be put in later.
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+=-]+")
# Around the number of a mark: characters of the private use area, which no plain word holds.
_MARK_BEGIN, _MARK_END = "\ue000", "\ue001"
_MARK = re.compile(f"{_MARK_BEGIN}([0-9]+){_MARK_END}")
_SKELETONS = 512

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
        # A team's own template may ask what a word is, not only print it.
        self._marks = overrides is None
        self._skeleton = lru_cache(maxsize=_SKELETONS)(self._print_skeleton)

    def render(self, desired: Desired) -> dict[str, Any]:
        """The manifest of a desired object, with the hash of its content as an annotation where it is kept by apply.

        Raises:
            TemplateError: the template is broken or asks for a value that it is not given.
        """
        words: list[str] = []
        marked = {name: self._marked(value, words) for name, value in desired.values.items()}
        key = msgspec.json.encode(marked, order="deterministic")
        if key.count(_MARK_BEGIN.encode()) == len(words):
            parts = self._skeleton(desired.template, key)
            text = "".join(part if at % 2 == 0 else words[int(part)] for at, part in enumerate(parts))
            manifest: dict[str, Any] = msgspec.json.decode(text)
        else:
            manifest = self._print(desired.template, msgspec.json.encode(dict(desired.values)))
        if desired.template not in _WRITTEN_ONCE:
            content = msgspec.json.encode(manifest, order="deterministic")
            digest = hashlib.sha256(content).hexdigest()[:16]
            manifest["metadata"].setdefault("annotations", {})[HASH_ANNOTATION] = digest
        return manifest

    def _marked(self, value: object, words: list[str]) -> object:
        """A mark for a plain word, which is then the last of `words`; anything else as it is."""
        if not (self._marks and isinstance(value, str) and _PLAIN.fullmatch(value)):
            return value
        words.append(value)
        return f"{_MARK_BEGIN}{len(words) - 1}{_MARK_END}"

    def _print_skeleton(self, template: Template, values: bytes) -> list[str]:
        """A manifest as JSON, cut at its marks: text, number of a word, text, number of a word … text."""
        return _MARK.split(msgspec.json.encode(self._print(template, values)).decode())

    def _print(self, template: Template, values: bytes) -> dict[str, Any]:
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
        result: dict[str, Any] = manifest
        return result


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
