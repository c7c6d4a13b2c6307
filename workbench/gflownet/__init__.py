"""Samplers that build an object step by step, with a probability in proportion to its reward."""
