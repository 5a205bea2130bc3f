"""Random changes to training images, as `spec.training.augmentation` asks for them.

What happens to a batch is drawn first, in numpy, from a generator that the caller seeds; the changes themselves are
TensorFlow operations on the whole batch. `contact_sheet` shows what comes of it.
"""

from model_trainer.augmentation.batch import Drawn, augment, draw, is_off
from model_trainer.augmentation.contact_sheet import contact_sheet

__all__ = ["Drawn", "augment", "contact_sheet", "draw", "is_off"]
