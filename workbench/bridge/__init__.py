"""Paths between snapshots of a population: couplings, interpolants, flow and score matching, simulation."""
