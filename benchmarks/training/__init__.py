"""How fast training is, beside what else one could use, in the same run (`python -m benchmarks.training`)."""
