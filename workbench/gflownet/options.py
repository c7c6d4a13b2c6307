"""Options of the GFlowNet core, free of heavy imports so that a command line lists them fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exploration:
    """How the behaviour differs from the policy while trajectories are drawn for training.

    epsilon       probability of a uniform move at each step
    temperature   above 1: moves are drawn from the flattened law P_F^(1/temperature)
    """

    epsilon: float = 0.0
    temperature: float = 1.0
