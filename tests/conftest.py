"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A test that waits for a processor has not failed: nothing is timed but what a benchmark measures.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
