"""A server that is wire-compatible with TensorFlow Serving, on TensorFlow's C API."""
