"""The images that children run, chosen by whoever installed the operator."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Images:
    """Container images: what trains and exports, what fetches and serves, and TensorFlow Serving's own."""

    trainer: str
    server: str
    tensorflow_serving: str
    trainer_gpu: str = ""
    """What trains where GPUs were asked for; `trainer` where it is empty."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What planning knows of this installation of the operator."""

    images: Images
    namespace: str
    """Where the operator runs: the one namespace whose pods may ask a run for its progress."""
    prometheus: bool = False
    """Whether the operator was told where Prometheus is."""
