"""The operator: from a KerasModel to everything that trains, publishes and serves it."""
