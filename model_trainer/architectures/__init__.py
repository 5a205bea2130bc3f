"""The networks that can be trained by name. Each takes float32 images in [0, 1] and gives probabilities."""

from model_trainer.architectures.build import build

__all__ = ["build"]
