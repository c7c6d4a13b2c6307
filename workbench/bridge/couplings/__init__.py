"""Couplings of two snapshots: who may have become whom, solved once per interval and then sampled."""
