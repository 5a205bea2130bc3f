"""In which numbers a training computes."""

from enum import StrEnum


class MixedPrecision(StrEnum):
    """Policies of Keras that compute in 16 bits and keep the weights in 32."""

    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"
