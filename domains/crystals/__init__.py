"""Crystals: environments that build real structures, their energies, and how they are judged."""
