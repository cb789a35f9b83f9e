"""What we know of kimi-code on this machine."""
