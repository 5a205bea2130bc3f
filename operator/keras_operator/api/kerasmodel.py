"""`KerasModel`: what people write."""

from typing import Annotated

from msgspec import Meta

from .evaluation import Evaluation
from .serving import Serving
from .store import Store
from .training import Source, Training
from .wire import Written


class KerasModelSpec(Written, frozen=True, kw_only=True):
    """The wanted state of a model: trained from data, or brought along, then published and served."""

    training: (
        Annotated[
            Training,
            Meta(description="Train versions from images. Exactly one of training and source is written."),
        ]
        | None
    ) = None
    source: (
        Annotated[
            Source,
            Meta(description="Serve a SavedModel that exists already. Exactly one of training and source is written."),
        ]
        | None
    ) = None
    evaluation: Annotated[Evaluation, Meta(description="What a trained version must reach before it may serve.")] = (
        Evaluation()
    )
    store: Annotated[Store, Meta(description="Where versions are published, and how to get there.")]
    serving: Annotated[Serving, Meta(description="How a published version is served.")] = Serving()
    suspend: Annotated[
        bool,
        Meta(
            description=(
                "While true no new version is made and no Job is started; what runs is finished, what serves goes on "
                "serving."
            )
        ),
    ] = False
