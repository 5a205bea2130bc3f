"""What Jobs are given, and what they answer."""

from enum import StrEnum

import msgspec

from .evaluation import Gate
from .source import Source
from .store import Store
from .training import Training
from .wire import Reported, Time


class RunStage(StrEnum):
    """The two Jobs of a run."""

    TRAIN = "train"
    EXPORT = "export"


class ProgressStage(StrEnum):
    """What a Job is doing now."""

    FETCHING = "fetching"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING = "saving"
    EXPORTING = "exporting"
    VERIFYING = "verifying"
    PUBLISHING = "publishing"


class RunSpec(Reported, frozen=True, kw_only=True):
    """Everything that a Job of a run needs to know; JSON in the environment variable KERAS_RUN."""

    model_name: str
    """The served name, as in /v1/models/NAME."""
    model: str
    """`<namespace>/<name>` of the KerasModel."""
    number: int
    owner: str
    """uid of the KerasModelVersion: who may claim the number in the store."""
    store: Store
    training: Training | None = None
    source: Source | None = None
    inputs_hash: str = ""
    """Fingerprint of training or source; part of the version's lineage, like the image."""
    image: str = ""
    """The trainer's own image, as the Job names it."""
    serving: int | None = None
    """For what is evaluated: the version that serves, to be measured on the same test images."""
    gates: tuple[Gate, ...] = ()
    """For the export: what has to be met before it publishes."""


class Progress(Reported, frozen=True, kw_only=True):
    """The answer to `GET :8080/progress` while a Job runs."""

    stage: ProgressStage
    phase: str = ""
    """Of a fine-tuning: which of its phases it is in."""
    epoch: int | None = None
    """Epochs that are done."""
    resumed_from: int | None = None
    """Epochs that an earlier pod had done when this one took over."""
    epochs: int | None = None
    step: int | None = None
    """Batches that are done of the epoch after `epoch`; 0 where an epoch has just ended."""
    steps: int | None = None
    """Batches in an epoch."""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    seconds_left: float | None = None
    examples_per_second: float | None = None
    """Training images or rows, in the time that whole epochs take."""
    message: str = ""
    waiting: str = ""
    """What it waits for, as a sentence, while the store is away; empty otherwise."""
    times: dict[str, Time] = msgspec.field(default_factory=dict)


class Images(Reported, frozen=True, kw_only=True):
    """How many images went into each part of the split."""

    train: int
    validation: int
    test: int


class Servable(Reported, frozen=True, kw_only=True):
    """What was published."""

    uri: str
    digest: str
    """`sha256:…` over the manifest's files."""
    bytes: int
    signatures: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    """Of each signature each input: its signature, name, type and shape, such as
    `serving_default image float32 [-1,28,28,1]`."""


class Comparison(Reported, frozen=True, kw_only=True):
    """The version that serves, measured on the new version's test images; `problem` is why it could not be."""

    version: int
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    problem: str = ""


class RunError(Reported, frozen=True, kw_only=True):
    """Why a Job failed."""

    reason: str
    """One of `RunReason`; a plain string, so that an older operator can pass on a newer trainer's reason."""
    message: str
    next_number: int | None = None
    """The lowest free version number, when the wanted one is taken in the store."""


class RunResult(Reported, frozen=True, kw_only=True):
    """A Job's last word: its container's termination message, at most 4,000 bytes of JSON."""

    stage: RunStage
    ok: bool
    error: RunError | None = None
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    """What this stage measured: training by test and validation images, the export by class and by servable."""
    evaluation: dict[str, float] = msgspec.field(default_factory=dict)
    """Of an export: what it measured of a source on its test images; empty where the source has none."""
    unmeasured: dict[str, str] = msgspec.field(default_factory=dict)
    """What gates ask for and the export could not measure, each with the reason."""
    comparison: Comparison | None = None
    epochs: int | None = None
    """Epochs that were trained."""
    ended: str = ""
    """Why training ended before its last epoch, in words; empty: it did not."""
    classes: int | None = None
    images: Images | None = None
    data_hash: str | None = None
    """`sha256:…` over the whole data set."""
    bad_files: int = 0
    builder: str | None = None
    """`sha256:…` of the Python source that built the network."""
    servable: Servable | None = None
    """What was published; None of an export whose gates were not met."""
    parity: float | None = None
    """Largest absolute difference between the exported and the trained model's outputs on held-out images."""
    times: dict[str, Time] = msgspec.field(default_factory=dict)
