"""What a team's container left: a model, and what it tells of its training. Nothing of it is trusted.

Whatever is wrong with it is the team's to mend, and would be wrong again.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Annotated, Any

import keras
import msgspec
from msgspec import Meta

from model_trainer.data.split import Indices
from model_trainer.failure import BadOutput
from model_trainer.keras_files import MOST_BYTES, read_keras_file
from model_trainer.loading import load_model
from model_trainer.networks import fault_of
from model_trainer.own_image.columns import put_on_columns
from model_trainer.own_image.folders import MODEL, RESULT
from model_trainer.precision import compute_plainly
from model_trainer.tables.table import Table

# Six series of 10,000 epochs are 1 MB.
MOST_RESULT_BYTES = 1024 * 1024
_ARCHIVE = b"PK\3\4"
# Of names in a sentence.
_NAMED = 5
_WHO = f"The {MODEL} of the container own"
_SAVE = "model.save(os.environ['KERAS_OPERATOR_OUTPUT'] + '/model.keras')"

Name = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_]{0,63}$")]


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """result.json, which need not be there: how the training went, for the report and the status.

    Attributes:
        history: a number for each epoch, by what was measured; val_… of the validation part.
        epochs: how many were trained; left out: as many as the history has.
        ended: why it ended before its last epoch, in words.
    """

    history: Annotated[dict[Name, list[float]], Meta(max_length=64)] = {}
    epochs: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    ended: Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f]*$")] = ""

    @property
    def trained(self) -> int:
        """Epochs that were trained; 0 where nobody says."""
        return self.epochs or max(map(len, self.history.values()), default=0)


def take_model(output: Path, shape: tuple[int, ...], classes: int) -> Any:
    """The keras.Model in `output`, for images of `shape` (height, width, channels) in [0, 1] and so many classes.

    Raises:
        BadOutput: there is none, or it is no file of Keras 3, or does not fit the data.
        BadModelFile: it is damaged, brings code, has weights that are no numbers, or cannot be loaded.
    """
    model = _loaded(output)
    if fault := fault_of(model, shape, classes):
        raise BadOutput(f"{_WHO} is {fault}.")
    return model


def take_row_model(output: Path, table: Table, rows: Indices) -> Any:
    """The keras.Model in `output` as one from the raw columns of `table`; it is tried on some of its `rows`.

    Raises:
        BadOutput, BadModelFile: see `take_model`.
    """
    return put_on_columns(_loaded(output), table, rows, _WHO)


def _loaded(output: Path) -> Any:
    path = output / MODEL
    if not _plain_file(path, MOST_BYTES):
        raise BadOutput(f"The container own left no {MODEL}, but {_contents(output)}. End it with {_SAVE}.")
    with path.open("rb") as file:
        start = file.read(len(_ARCHIVE) * 2)
    if not start.startswith(_ARCHIVE):
        raise BadOutput(
            f"The {MODEL} of the container own is no Keras archive, for it begins with {start!r}. End it with {_SAVE}."
        )
    found = read_keras_file(path, _WHO, again="Let the container write it whole, and end with 0 only then")
    if found.by_keras_2:
        raise BadOutput(
            f"{_WHO} was written by Keras {found.keras_version}, and Keras {keras.__version__} reads it: train with "
            "Keras 3."
        )
    model = load_model(found, allow_code=False, allowed_by=None)
    compute_plainly(model)
    return model


def take_told(output: Path) -> Told:
    """result.json in `output`, or an empty one. Raises BadOutput."""
    path = output / RESULT
    if not _plain_file(path, MOST_RESULT_BYTES):
        return Told()
    who = f"The {RESULT} of the container own"
    try:
        told = msgspec.json.decode(path.read_bytes(), type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadOutput(
            f"{who} cannot be read ({str(error).rstrip('.')}). It holds history, epochs and ended in JSON, which has "
            "no NaN, or is left out."
        ) from error
    lengths = sorted({len(values) for values in told.history.values()} | ({told.epochs} if told.epochs else set()))
    if len(lengths) > 1:
        raise BadOutput(
            f"{who} has {' and '.join(map(str, lengths))} numbers or epochs, and wants a number for each epoch of each "
            "series in history."
        )
    if not all(math.isfinite(value) for values in told.history.values() for value in values):
        raise BadOutput(f"{who} has a number that no float holds. Leave out what is not finite.")
    return told


def _plain_file(path: Path, limit: int) -> bool:
    """Whether there is a file. A link would lead into this container, and a pipe be waited for: both are refused."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    who = f"The {path.name} of the container own"
    if not stat.S_ISREG(found.st_mode):
        raise BadOutput(f"{who} is {stat.filemode(found.st_mode)} and no plain file. Write a file of that name.")
    if not os.access(path, os.R_OK):
        raise BadOutput(f"{who} has the mode {stat.filemode(found.st_mode)}. Let user 65532 read it.")
    if found.st_size > limit:
        raise BadOutput(f"{who} has {found.st_size:,} bytes, and at most {limit:,} are read. Write a smaller one.")
    return True


def _contents(output: Path) -> str:
    names = sorted(path.name for path in output.iterdir())
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "nothing"
