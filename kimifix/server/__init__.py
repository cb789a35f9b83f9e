"""What we know of the Kimi API."""
