"""Diffusion samplers of a density given by its energy."""
