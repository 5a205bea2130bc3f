"""What tests of canaries have in common: a serving part, a client that never stops asking, the words of a way back."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.e2e import image_sets
from tests.e2e.api_server import Object
from tests.e2e.models import is_stalled, message
from tests.e2e.steady_client import Question, SteadyClient


def canary_serving(*steps: Object, **canary: object) -> Object:
    """The part of a spec that serves on two pods, and new versions in these steps."""
    # A latency says little where ten other programs run on the same two cores.
    analysis = {
        "minRequests": 30,
        "maxErrorIncrease": 0.05,
        "maxLatencyRatio": 100,
        # A version that always answers the same of three classes is 0.67 apart from a right one, less 0.07 for chance.
        "predictionDrift": {"maxDistance": 0.4, "minPredictions": 100},
    }
    parts = {"steps": list(steps), "analysis": analysis} | canary
    return {"serving": {"replicas": 2, "rollout": {"strategy": "Canary", "canary": parts, "signatureChange": "Allow"}}}


def asks_about_digits(url: str) -> SteadyClient:
    """A client of a model of digits; entering it begins to ask."""
    _, hidden = image_sets.known_and_held_out()
    questions = [Question(digit.instance(), digit.label) for digit in image_sets.quick_digits(hidden)]
    # Class by class, each pod would be asked about another one in the stretch of time that it is judged by.
    random.Random(1).shuffle(questions)
    return SteadyClient(url, questions, image_sets.QUICK_CLASSES)


def taken_back(number: int) -> Callable[[Object], bool]:
    """Whether a model says that this version was taken back at its first step."""
    return lambda seen: (
        is_stalled(seen) and message(seen).startswith(f"version {number} cannot serve: it was taken back at step 1")
    )
