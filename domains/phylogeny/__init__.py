"""Alignments, trees, likelihood and parsimony, and the forest of subtrees that a sampler merges."""
