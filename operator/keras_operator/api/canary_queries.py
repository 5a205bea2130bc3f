"""What Prometheus is asked about a canary, and between which bounds its answer has to be."""

from typing import Annotated, ClassVar

from msgspec import Meta

from .names import listed
from .rules import Rule, fully_matches, ruled
from .wire import Written

QUERY_VARIABLES = ("namespace", "model", "modelName", "version", "stableVersion", "pods", "stablePods", "interval")
"""What stands in double braces in a query: `{{pods}}`."""

_Bound = Annotated[float, Meta(ge=-1e15, le=1e15)]


class CanaryQuery(Written, frozen=True, kw_only=True):
    """One query to Prometheus, and its bounds."""

    name: Annotated[
        str,
        Meta(
            max_length=63,
            description="What it is called in status.message.",
            examples=["error-ratio"],
            extra=ruled(
                fully_matches(
                    "[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
                    "must be lower-case letters, digits, '-' or '.', starting and ending with a letter or digit: for "
                    "example error-ratio",
                )
            ),
        ),
    ]
    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description=(
                "PromQL that gives one number. Variables: {{namespace}}, {{model}}, {{modelName}} (serving.modelName), "
                "{{version}} (the new one), {{stableVersion}}, {{pods}} and {{stablePods}} (regular expressions for "
                "the pods of either) and {{interval}} (since the step began, such as 300s)."
            ),
            examples=['sum(rate({__name__=":tensorflow:serving:request_count",pod=~"{{pods}}"}[{{interval}}]))'],
            extra=ruled(
                fully_matches(
                    # Flagger's braces. A query of its own has no two braces in a row, but one in a text might.
                    rf"([^{{]|[{{][^{{]|[{{][{{] *({'|'.join(QUERY_VARIABLES)}) *[}}][}}])*[{{]?",
                    f"has something else in double braces than a variable: write {listed(QUERY_VARIABLES)} there, such "
                    "as {{version}}",
                )
            ),
        ),
    ]
    min: (
        Annotated[_Bound, Meta(description="The number must be at least this. Left out: no lower bound.", examples=[5])]
        | None
    ) = None
    max: (
        Annotated[
            _Bound, Meta(description="The number must be at most this. Left out: no upper bound.", examples=[0.05])
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.min) || has(self.max)",
            message="min or max is missing: write what the number may be, for example max: 0.05",
            holds=lambda query: (query.min, query.max) != (None, None),
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be above max, or no number could ever be right: lower min or raise max",
            holds=lambda query: query.min is None or query.max is None or query.min <= query.max,
        ),
    )


EACH_HAS_A_NAME_OF_ITS_OWN = Rule(
    cel="self.all(one, self.exists_one(other, other.name == one.name))",
    message="two queries have the same name: give each its own, so that status.message says which one it is",
    holds=lambda queries: len({query.name for query in queries}) == len(queries),
)
