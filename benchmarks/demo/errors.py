"""What stops the demo: one kind of error, whose message is a sentence that says what to do."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on."""
