"""A real Kubernetes node for demo, tests and benchmarks, started by `python3 -m devcluster up`.

Only the standard library is used: this package runs with the system's Python before the project's environment exists.
"""
