"""What to do about one model: pure functions of what was observed, the settings and the time.

Nothing in this package does I/O, reads a clock or looks at the environment. `decide.plan` is the way in.
"""

from keras_operator.plan.decide import plan
from keras_operator.plan.desired import Plan
from keras_operator.plan.observed import Observed

__all__ = ["Observed", "Plan", "plan"]
