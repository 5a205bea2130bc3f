"""Names of fields and values, as rules' sentences have them."""


def camel(name: str) -> str:
    """A field's name as it is written in YAML: `decayEpochs` of `decay_epochs`."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def snake(name: str) -> str:
    """A field's name in Python: `decay_epochs` of `decayEpochs`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def listed(names: tuple[str, ...]) -> str:
    """Names in a sentence: `adam, adamw and sgd`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
