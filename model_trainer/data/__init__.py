"""From class folders in a store to batches on their way into a network."""
