"""What may go wrong, told in sentences that say what to do."""


class DevclusterError(Exception):
    """The command cannot go on; the message names the object, what was found and what to do."""


class MissingPreconditionError(DevclusterError):
    """The machine lacks something that this package cannot bring along itself."""


class CommandFailedError(DevclusterError):
    """A program that was run for a step ended with a non-zero status."""


class NotReadyError(DevclusterError):
    """A component did not become ready within its time."""
