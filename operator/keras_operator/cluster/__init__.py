"""How the operator talks to Kubernetes: queue, cache, client, audit, leader election. Knows nothing about Keras."""
