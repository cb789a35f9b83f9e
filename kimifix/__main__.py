"""Let ``python -m kimifix`` do what ``kimifix`` does."""

from kimifix.cli import run

if __name__ == "__main__":
    run()
