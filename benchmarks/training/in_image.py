"""A module as the trainer's image runs it: `python -m benchmarks.training.in_image MODULE WORD…`.

The image has neither scikit-learn nor SciPy, which only this project's tests bring along; wherever they are installed,
Keras and TensorFlow import them, which makes their import a fifth longer.
"""

import runpy
import sys

SCIKIT_LEARN, SCIPY = "sklearn", "scipy"


def hide(*packages: str) -> None:
    """Let importing these packages fail in this process, as where they are not installed."""
    for package in packages:
        sys.modules[package] = None  # type: ignore[assignment] # that is how the import system is told


if __name__ == "__main__":
    hide(SCIKIT_LEARN, SCIPY)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
