"""`python -m voxraga_operator.cli`, for where the console script is not installed."""

import sys

from voxraga_operator.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
