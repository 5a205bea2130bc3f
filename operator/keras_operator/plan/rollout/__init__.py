"""How the wanted version gets into the pods that serve: with new pods, or pod by pod into those that run."""

from keras_operator.plan.rollout.apart import canary_name
from keras_operator.plan.rollout.course import Course, course

__all__ = ["Course", "canary_name", "course"]
