"""`python -m pipelines.boltzmann ...` is `workbench boltzmann run ...`."""

import sys

from pipelines.cli import main

sys.exit(main(["boltzmann", "run", *sys.argv[1:]]))
