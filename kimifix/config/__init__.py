"""The change, and how it reaches the disk."""
