"""`python -m pipelines.phylogeny ...` is `workbench phylogeny run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["phylogeny", "run", *sys.argv[1:]]))
