"""The sampler core: energies, samplers, diagnostics, runs. Imports torch, never a domain."""
