"""`python -m pipelines` is the same as `workbench`."""

import sys

from pipelines.cli import main

sys.exit(main())
