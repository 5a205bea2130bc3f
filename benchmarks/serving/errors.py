"""What stops the benchmark: one kind of error, whose message is a sentence that says what to do."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The benchmark cannot go on."""
