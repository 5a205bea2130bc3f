"""Conditions as `metav1.Condition` wants them: a transition time moves only when the status does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from keras_operator.api import Condition, ConditionStatus, ConditionType


@dataclass(frozen=True, slots=True)
class Statement:
    """What a condition says now; None leaves it open whether it holds."""

    type: ConditionType
    holds: bool | None
    reason: str
    message: str


_STATUS = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}


def conditions(
    statements: Iterable[Statement], before: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions for these statements, with the transition times of `before` where the status is the same."""
    old = {condition.type: condition for condition in before}
    made = []
    for statement in statements:
        status = _STATUS[statement.holds]
        known = old.get(statement.type)
        made.append(
            Condition(
                type=statement.type,
                status=status,
                reason=statement.reason,
                message=statement.message,
                last_transition_time=known.last_transition_time if known and known.status == status else now,
                observed_generation=generation,
            )
        )
    return tuple(made)


def condition(all_conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of a type, or None."""
    return next((one for one in all_conditions if one.type == kind), None)
