"""`python -m pipelines.graphs ...` is `workbench graphs run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["graphs", "run", *sys.argv[1:]]))
