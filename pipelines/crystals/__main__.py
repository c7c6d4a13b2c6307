"""`python -m pipelines.crystals ...` is `workbench crystals run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["crystals", "run", *sys.argv[1:]]))
