"""Matching objectives: pure functions of what a network gave and what it should have given."""
