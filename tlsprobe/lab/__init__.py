"""Real servers under controlled conditions, and what the kernel itself says of them."""
