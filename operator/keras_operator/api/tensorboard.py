"""`spec.tensorboard`: a page that shows how trainings go."""

from typing import Annotated

from msgspec import Meta

from .wire import Written


class TensorBoard(Written, frozen=True, kw_only=True):
    """A TensorBoard of the model's own, in the namespace of the model."""

    enabled: Annotated[
        bool,
        Meta(
            description=(
                "Run TensorBoard over the logs of the model's newest 50 versions, live while one trains, behind the "
                "Service <name>-tensorboard, port 6006. It has no login: who reaches the Service sees it."
            ),
            examples=[True],
        ),
    ]
