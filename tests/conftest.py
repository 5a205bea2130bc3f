"""What holds for every test."""

from hypothesis import settings

# A test that waits for a processor has not failed: nothing is timed but what a benchmark measures.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
