"""`python -m pipelines.cells ...` is `workbench cells run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["cells", "run", *sys.argv[1:]]))
