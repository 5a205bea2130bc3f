"""The team's own network: Python source from a ConfigMap or the store, run under a time limit, and its model checked.

What the source was when a version was first trained is kept in the run folder and used from then on, so that a version
that is tried again, or exported a week later, is built from the same code.
"""

from __future__ import annotations

import hashlib
import linecache
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import keras
from keras_operator.api import Builder

from model_store import NotFound, TooLarge, open_store
from model_trainer.context import Context
from model_trainer.failure import BadRun, InvalidBuilder
from model_trainer.networks import fault_of
from model_trainer.run_folder import BUILDER, RunFolder

log = logging.getLogger(__name__)

# The Job puts the ConfigMap's entry there: a missing ConfigMap then keeps the container from starting, and Kubernetes
# says which one it is, which it does not say of a volume.
ENVIRONMENT = "KERAS_BUILDER"
# A ConfigMap holds no more than this.
MOST_BYTES = 1024 * 1024
# Keras writes down the module and the name of each class that a model is made of.
MODULE = "keras_builder"
FIELD = "spec.training.builder"
# Seconds for source that has been run before, when its version was trained.
LONGEST_LOAD = 300


class _Late(BaseException):
    """The time is over. Not an Exception, so that `except Exception` in a loop does not swallow it."""


@dataclass(frozen=True)
class BuilderSource:
    """Python source: the name that people know it by, and its text."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """`sha256:…` of the text."""
        return "sha256:" + hashlib.sha256(self.text.encode()).hexdigest()


def source_of(builder: Builder, endpoint: str | None, folder: RunFolder, context: Context) -> BuilderSource:
    """The source as this version is built from: what the run folder holds, or else what there is now.

    Raises:
        InvalidBuilder: there is no such file, or it is no text.
    """
    name = builder.config_map_key_ref.key if builder.config_map_key_ref else str(builder.uri)
    kept = folder.kept(BUILDER, lambda: _read(builder, endpoint, context))
    try:
        return BuilderSource(name.rpartition("/")[2], kept.decode())
    except UnicodeDecodeError as error:
        raise InvalidBuilder(f"{name} is not text in UTF-8 ({error}). {FIELD} must name Python source.") from error


def _read(builder: Builder, endpoint: str | None, context: Context) -> bytes:
    if builder.uri is None:
        text = os.environ.get(ENVIRONMENT)
        if text is None:
            raise BadRun(f"The environment variable {ENVIRONMENT} is not set; it must hold the builder's source.")
        return text.encode()
    parent, _, name = builder.uri.rpartition("/")
    store = open_store(parent, endpoint=endpoint)
    try:
        return context.patience(f"reading {builder.uri}", lambda: store.read(name, limit=MOST_BYTES))
    except NotFound as error:
        raise InvalidBuilder(f"There is no file {builder.uri}. Correct {FIELD}.uri, or upload the file.") from error
    except TooLarge as error:
        raise InvalidBuilder(f"{str(error).rstrip('.')}; {FIELD}.uri must name Python source.") from error


def load(source: BuilderSource, seconds: int) -> ModuleType:
    """Run the source as a module, and tell Keras of its classes, so that models made of them can be loaded.

    Raises:
        InvalidBuilder: it cannot be run, with the line.
    """
    module = ModuleType(MODULE)
    module.__file__ = source.name
    sys.modules[MODULE] = module
    linecache.cache[source.name] = (len(source.text), None, source.text.splitlines(keepends=True), source.name)
    with _explained(source, "its source", seconds):
        exec(compile(source.text, source.name, "exec"), module.__dict__)  # noqa: S102 - this is what a builder is for
    keras.saving.get_custom_objects().update(own_objects(module))
    return module


def load_kept(folder: RunFolder, seconds: int = LONGEST_LOAD) -> bool:
    """Run the source that a version was trained with, so that its model can be loaded; says whether it has any.

    Raises:
        InvalidBuilder: it cannot be run any more.
    """
    kept = folder.kept_before(BUILDER)
    if kept is None:
        return False
    load(BuilderSource(BUILDER, kept.decode()), seconds)
    return True


def own_objects(module: ModuleType) -> dict[str, Any]:
    """The classes and functions that the source defines, by the names under which Keras writes them down."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type | FunctionType) and value.__module__ == MODULE
    }


def build_by(builder: Builder, source: BuilderSource, module: ModuleType, shape: tuple[int, ...], classes: int) -> Any:
    """The keras.Model that the function returns for images of `shape` and so many classes.

    Raises:
        InvalidBuilder: there is no such function, it fails, or its model is not one that can be trained here.
    """
    function = getattr(module, builder.function, None)
    if not callable(function):
        there = [name for name, value in own_objects(module).items() if isinstance(value, FunctionType)]
        known = f"; it has {', '.join(sorted(there)[:5])}" if there else ""
        raise InvalidBuilder(
            f"{source.name} has no function {builder.function}{known}. Define it as {builder.function}(input_shape, "
            f"num_classes, **params), or correct {FIELD}.function."
        )
    with _explained(source, builder.function, builder.timeout_seconds):
        model = function(tuple(shape), classes, **builder.params)
    _check(model, f"{builder.function} in {source.name}", tuple(shape), classes)
    return model


def _check(model: Any, who: str, shape: tuple[int, ...], classes: int) -> None:
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise InvalidBuilder(f"{who} returns {kind}, and a keras.Model is wanted: return keras.Model(inputs, outputs).")
    if fault := fault_of(model, shape, classes, given="input_shape", outputs="num_classes"):
        raise InvalidBuilder(f"{who} returns {fault}.")


@contextmanager
def _explained(source: BuilderSource, what: str, seconds: int) -> Iterator[None]:
    """Run somebody's code for at most so many seconds, and blame it by its line for whatever it raises."""
    try:
        with _time_limit(seconds):
            yield
    except _Late as error:
        line = _line(error, source.name)
        raise InvalidBuilder(
            f"{source.name}{line}: {what} was still running after {seconds} s and was stopped. End its loop, or raise "
            f"{FIELD}.timeoutSeconds."
        ) from error
    except SyntaxError as error:
        raise InvalidBuilder(
            f"{source.name}, line {error.lineno}: {type(error).__name__}: {error.msg}. Correct the source."
        ) from error
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        cause = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message").rstrip(".")
        where = f"{source.name}{_line(error, source.name)}"
        raise InvalidBuilder(f"{where}: {type(error).__name__}: {cause}. Correct the source.") from error


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def over(number: int, frame: Any) -> None:
        del number, frame
        raise _Late

    before = signal.signal(signal.SIGALRM, over)
    # Again each second: a bare `except:` may swallow the first one.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _line(error: BaseException, name: str) -> str:
    """The last line of the source that an error went through; none where it never came there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return f", line {lines[-1]}" if lines else ""
