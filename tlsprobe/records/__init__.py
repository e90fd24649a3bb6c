"""TLS records in a stream that we did not drive, and the secrets that open them."""
