"""tf.train.Example: one record's features, with a sentence for whatever is not as it is asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import tensorflow as tf
from google.protobuf.message import DecodeError

from model_trainer.failure import BadData
from model_trainer.tables.lines import named

INT, FLOAT, BYTES = "int64_list", "float_list", "bytes_list"
"""The kinds of features, by the names of tf.train.Feature."""

_SAID = {
    INT: ("a whole number", "whole numbers"),
    FLOAT: ("a float", "floats"),
    BYTES: ("a byte string", "byte strings"),
}


@dataclass(frozen=True)
class Feature:
    """The values of one feature and their kind; None for a feature that is there and holds nothing."""

    kind: str | None
    values: tuple[int, ...] | tuple[float, ...] | tuple[bytes, ...]

    @property
    def said(self) -> str:
        """For a sentence: 3 floats."""
        if self.kind is None or not self.values:
            return "nothing"
        one, many = _SAID[self.kind]
        return one if len(self.values) == 1 else f"{len(self.values)} {many}"


class Example:
    """One record's features; `where` says which record, for a sentence."""

    def __init__(self, data: bytes, where: str) -> None:
        try:
            self._features = tf.train.Example.FromString(data).features.feature
        except DecodeError as error:
            raise BadData(
                f"{where[0].upper()}{where[1:]} is no tf.train.Example ({error}). Write the bytes of "
                "tf.train.Example(…).SerializeToString()."
            ) from error
        self.where = where

    @property
    def names(self) -> list[str]:
        """Of its features, sorted."""
        return sorted(self._features)

    def feature(self, name: str, field: str) -> Feature:
        """The feature `name`, which the field `field` names. Raises BadData where there is none."""
        # Asking a protobuf map for a name would add it.
        if name not in self._features:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            has = f"it has {named(self.names)}" if self.names else "it has none at all"
            raise self.bad(f"has no feature {name!r}; {has}{hint}. Correct {field}")
        feature = self._features[name]
        kind = feature.WhichOneof("kind")
        return Feature(kind, () if kind is None else tuple(getattr(feature, kind).value))

    def bad(self, rest: str) -> BadData:
        """A sentence about this record, without its full stop."""
        return BadData(f"{self.where[0].upper()}{self.where[1:]} {rest}.")
