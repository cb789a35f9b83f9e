"""Let ``python -m kimifix`` do what ``kimifix`` does: both start here."""

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C before or after it can say so ends in 130, too."""
    gc.disable()  # a process of a second leaves no garbage that matters
    try:
        from kimifix.cli import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
