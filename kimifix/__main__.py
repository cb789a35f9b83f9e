"""Let ``python -m kimifix`` do what ``kimifix`` does: both start here."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded ends in 130, too."""
    try:
        from kimifix.cli import run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
