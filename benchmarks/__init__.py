"""Commands that measure this project and write what they found to `benchmarks/results/`."""
