"""The same as the command `outrider`: python -m outrider.algorithm."""

import sys

from outrider.algorithm.commands.cli import main

sys.exit(main())
