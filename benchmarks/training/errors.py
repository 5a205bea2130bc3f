"""What ends the benchmark."""


class BenchmarkError(Exception):
    """Something that is measured did not work; the message says what."""
