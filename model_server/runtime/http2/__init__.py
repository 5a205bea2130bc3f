"""HTTP/2 (RFC 9113), as much of it as a server of gRPC needs, and gRPC's messages and status on top of it."""
