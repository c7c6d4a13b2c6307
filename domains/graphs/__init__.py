"""Combinatorial problems on graphs: sets of vertices, their environments and classical solvers."""
