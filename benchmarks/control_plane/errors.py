"""What ends this benchmark early."""


class BenchmarkError(Exception):
    """Something did not come to pass in its time; the message says what, and where to look."""
