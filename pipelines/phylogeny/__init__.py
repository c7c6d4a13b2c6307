"""Phylogenetic trees: scores of given ones."""
