"""`python -m pipelines.synthetic ...` is `workbench synthetic run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["synthetic", "run", *sys.argv[1:]]))
