"""The sidecar that fetches the wanted version, verifies it and tells the runtime to load it."""
