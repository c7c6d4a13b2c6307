"""Networks as plain modules: no knowledge of samplers or energies."""
