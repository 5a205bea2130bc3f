"""Whether clients of one version can ask another the same way."""

from urllib.parse import unquote

from keras_operator.api import VersionServable


def changed_input(before: VersionServable, after: VersionServable) -> str:
    """How a version takes something else than the one before, as a sentence without an end; empty where it does not.

    A signature that is new does no harm. Of a version that does not say what it takes nothing is said.
    """
    old, new = _inputs(before), _inputs(after)
    if not old or not new:
        return ""
    for signature, inputs in old.items():
        now = new.get(signature)
        if now is None:
            return f"it has no signature {signature} any more"
        gone, more = [name for name in inputs if name not in now], [name for name in now if name not in inputs]
        if gone:
            instead = f", and has {more[0]}" if more else ""
            return f"signature {signature} has no input {gone[0]} any more{instead}"
        if more:
            return f"signature {signature} wants one more input, {more[0]}"
        for name, kind in inputs.items():
            if now[name] != kind:
                return f"input {name} of signature {signature} was {kind} and is {now[name]}"
    return ""


def _inputs(servable: VersionServable) -> dict[str, dict[str, str]]:
    """What each input of each signature is: `float32 [-1,28,28,1]`."""
    found: dict[str, dict[str, str]] = {}
    for line in servable.inputs:
        signature, name, kind = line.split(" ", 2)
        # Columns of tables have names with blanks in them.
        found.setdefault(signature, {})[unquote(name)] = kind
    return found
