"""`python -m coregstack`, for where the command is not on the path."""

import os
import sys

# with -m the current folder comes first on the path, and with it whatever somebody has put there
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from coregstack.cli import main

sys.exit(main())
