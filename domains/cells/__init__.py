"""Cells seen at several times: snapshots from AnnData, a simulator with known answers, distances,
unlearned rivals, gene networks, fates, and the files that single-cell tools open."""
