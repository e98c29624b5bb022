"""`python -m coregstack`, for where the command is not on the path."""

import sys

from coregstack.cli import main

sys.exit(main())
