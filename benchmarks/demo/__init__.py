"""`python -m benchmarks.demo`: from real images in object storage to predictions over HTTP, on a running cluster.

The steps, in the order in which `__main__` takes them: the data (`digits`, `upload`), the cluster (`kubectl`,
`install`), the model's way to `Serving` (`watch`), predictions (`predict`), and what is reported: the timeline
(`timeline`, from `audit` and the objects' own times), the operator's own gaps (`gaps`) and the figures (`figures`).
"""
