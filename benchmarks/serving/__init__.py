"""How fast, how soon and how small the runtime is."""
