"""The children that show a model's trainings: a TensorBoard and the Service in front of it."""

from keras_operator.api import KerasModelSpec
from keras_operator.plan.desired import Desired, Removal, Template, values_of
from keras_operator.plan.images import Installation
from keras_operator.plan.observed import Model, Observed

_TEMPLATES = {"Deployment": Template.BOARD, "Service": Template.BOARD_SERVICE}


def board_name(model: str) -> str:
    """The name of the children that belong to TensorBoard."""
    return f"{model}-tensorboard"


def board_children(
    observed: Observed, model: Model, spec: KerasModelSpec, installation: Installation
) -> tuple[tuple[Desired, ...], tuple[Removal, ...]]:
    """What to keep, and what of it to remove where nobody wants a TensorBoard any more."""
    name = board_name(model.identity.name)
    if not spec.shows_trainings:
        left = [(kind, child.identity) for kind, child in observed.board.items() if not child.identity.deleting]
        return (), tuple(Removal(kind, name, identity.uid) for kind, identity in left)
    values = values_of(model, name) | {
        "service_account": model.identity.name,
        "image": installation.images.trainer,
        "store_uri": spec.store.uri,
        "store_endpoint": spec.store.endpoint,
        "secret_name": spec.store.credentials.secret_name if spec.store.credentials else None,
    }
    return tuple(Desired(template, name, values) for template in _TEMPLATES.values()), ()
