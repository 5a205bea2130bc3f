"""The class of a record: a whole number from 0 up, or a name."""

from __future__ import annotations

from collections.abc import Callable

from model_trainer.tfrecord.examples import BYTES, INT, Example

# Of a name in a sentence.
_SHOWN = 60


def class_of(
    example: Example,
    name: str,
    field: str,
    classes: tuple[str, ...] = (),
    names: str = "spec.training.data.records.classes",
) -> str:
    """The name of a record's class, which the feature `name` holds; a number's where `classes` names them.

    `field` is what names the feature, `names` what gives the classes. Raises BadData where it holds none.
    """
    feature = example.feature(name, field)
    if len(feature.values) != 1 or feature.kind not in {INT, BYTES}:
        raise example.bad(
            f"has {feature.said} in the label {name!r}, and a class is one whole number or one name. Write that, or "
            f"correct {field}"
        )
    (value,) = feature.values
    if isinstance(value, bytes):
        return _name(example, name, value, classes, names)
    number = int(value)
    if number < 0:
        raise example.bad(
            f"has {number} in the label {name!r}, and a class is a whole number from 0 up. Correct it, or leave the "
            "record out"
        )
    if classes and number >= len(classes):
        raise example.bad(
            f"has {number} in the label {name!r}, and {names} has {len(classes)} names, of 0 to {len(classes) - 1}. "
            "Name that one too, or correct the record"
        )
    return classes[number] if classes else str(number)


def _name(example: Example, name: str, value: bytes, classes: tuple[str, ...], names: str) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise example.bad(f"has bytes in the label {name!r} that are no UTF-8. Write the class's name") from error
    if not text:
        raise example.bad(f"has an empty name in the label {name!r}. Write the class's name")
    if classes and text not in classes:
        raise example.bad(
            f"has the class {text[:_SHOWN]!r} in the label {name!r}, which {names} does not name. Name it there, or "
            "correct the record"
        )
    return text


def order_of(classes: set[str], named: tuple[str, ...] = ()) -> Callable[[str], tuple[int, str]]:
    """What classes are sorted by: their place in `named`; their number where all are numbers, else their spelling."""
    if named:
        places = {name: place for place, name in reversed(list(enumerate(named)))}
        return lambda name: (places[name], name)
    if all(name.isascii() and name.isdecimal() for name in classes):
        return lambda name: (int(name), name)
    return lambda name: (0, name)
