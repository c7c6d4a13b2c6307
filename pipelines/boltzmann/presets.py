"""The defaults of every (preset, system, sampler): the only place where sizes are chosen.

smoke   within a minute on 2 cores: everything runs, nothing is converged
laptop  the default, for 2 cores without a GPU
paper   the published hyperparameters, meant for a GPU
"""

from __future__ import annotations

import re
from dataclasses import replace

from pipelines.boltzmann.options import ChainOptions, Config, MdOptions, SmcOptions
from pipelines.options import Preset
from workbench.diffusion.options import FlowConfig, IdemConfig, NetworkConfig

SYNTHETIC = ("gmm40", "gmm25", "funnel-easy", "funnel-hard", "many-well-32")


def family(system: str) -> str:
    """The row of the tables: a synthetic name, dw4, small or large (clusters), or molecule."""
    if system in SYNTHETIC or system == "dw4":
        return system
    cluster = re.fullmatch(r"lj(\d+)", system)
    if cluster:
        return "lj-small" if int(cluster[1]) <= 20 else "lj-large"
    return "molecule"


def preset(name: Preset, system: str = "alanine-dipeptide", sampler: str = "auto") -> Config:
    """Every option at its value for this preset, system and sampler."""
    row = family(system)
    if sampler == "auto":
        sampler = "pt" if row == "molecule" else "idem"
    config = Config(preset=name, system=system)
    if name == "smoke":
        config = replace(config, n_samples=200)
    elif row == "gmm40":
        config = replace(config, n_samples=10_000)
    if sampler == "idem":
        config = replace(config, **_IDEM[name](row))
    config = replace(config, chain=_chains(name, row), smc=_smc(name, row), md=_md(name))
    if name == "laptop" and sampler == "idem" and row in ("dw4", "lj-small"):
        config = replace(config, polish_steps=200)
    return config


_LENGTHS = {  # standard deviation per coordinate, stiffest scale: of the target, in its length unit
    "gmm40": (25.0, 1.3),
    "gmm25": (8.0, 0.55),
    "funnel-easy": (1.5, 0.3),
    "funnel-hard": (5.0, 0.3),
    "many-well-32": (1.6, 0.25),
    "dw4": (2.1, 0.15),
    "lj-small": (0.7, 0.07),
    "lj-large": (1.1, 0.05),
    "molecule": (0.2, 0.003),
}
_NOISE = {  # smallest and largest noise level of the diffusion
    "gmm40": (0.02, 50.0),
    "gmm25": (0.02, 20.0),
    "funnel-easy": (0.01, 6.0),
    "funnel-hard": (0.01, 20.0),
    "many-well-32": (0.01, 4.0),
    "dw4": (0.02, 4.0),
    "lj-small": (0.01, 2.0),
    "lj-large": (0.01, 3.0),
    "molecule": (0.0005, 0.6),
}


def _idem_base(row: str) -> IdemConfig:
    length, fine = _LENGTHS[row]
    low, high = _NOISE[row]
    network = NetworkConfig(length=length, fine_length=fine)
    return IdemConfig(sigma_min=low, sigma_max=high, proposal_length=1.2 * length, network=network)


def _idem_smoke(row: str) -> dict:
    base = _idem_base(row)
    base = replace(
        base,
        draws=32,
        steps=150,
        steps_per_round=50,
        samples_per_round=64,
        batch=64,
        sde_steps=40,
        network=replace(base.network, width=32, layers=2),
    )
    if row in ("lj-large", "molecule"):
        fewer = replace(base, steps=60, steps_per_round=30, samples_per_round=16, batch=16)
        base = replace(fewer, sde_steps=20, network=replace(base.network, width=16))
        return {"idem": base, "flow": FlowConfig(n_steps=5, probes=1), "n_samples": 50}
    return {"idem": base, "flow": FlowConfig(n_steps=10, probes=1)}


def _idem_laptop(row: str) -> dict:
    base = _idem_base(row)
    vectors = replace(base, network=replace(base.network, width=128), samples_per_round=500)
    chained = replace(
        base,
        draws=6,
        chain_steps=4,
        relax_start=True,
        buffer_size=5_000,
        sde_steps=200,
        final_sde_steps=600,
    )
    sizes = {
        "gmm40": replace(vectors, draws=512, steps=10_000, final_sde_steps=200),
        "gmm25": replace(vectors, draws=256, steps=6_000, sde_steps=200),
        "funnel-easy": replace(vectors, draws=256, steps=6_000),
        "funnel-hard": replace(vectors, draws=512, steps=8_000),
        "many-well-32": replace(vectors, draws=512, steps=8_000),
        "dw4": replace(
            chained,
            draws=16,
            chain_leapfrog=4,
            global_draws=512,
            steps=10_000,
            sde_steps=100,
            final_sde_steps=400,
            batch=256,
            samples_per_round=250,
            network=replace(base.network, width=96),
        ),
        "lj-small": replace(
            chained,
            steps=9_000,
            steps_per_round=200,
            batch=128,
            network=replace(base.network, width=48),
        ),
        "lj-large": replace(chained, steps=4_000, batch=32, samples_per_round=64),
        "molecule": replace(chained, steps=4_000, batch=64, samples_per_round=64),
    }
    flow = FlowConfig(n_steps=20, probes=1, n_samples=3_000 if row == "dw4" else None)
    return {"idem": sizes[row], "flow": flow}


def _idem_paper(row: str) -> dict:
    """iDEM's own settings (arXiv 2402.06121 and its code), estimator and biases included; the steps of
    the reverse SDE and the network are ours (`workbench.diffusion.idem` says how they differ)."""
    published = replace(
        _idem_base(row),
        control="none",
        proposal_length=None,
        noise_clip=None,
        clip=20.0,
        draws=1000,
        batch=512,
        steps=100_000,
        samples_per_round=1000,
        sde_steps=1000,
    )
    network = replace(published.network, width=128, layers=5, use_force=False)
    sizes = {
        "gmm40": replace(
            published,
            clip=70.0,
            draws=500,
            sigma_min=5e-4,
            learning_rate=5e-4,
            network=replace(network, layers=3),
        ),
        "dw4": replace(
            published, sigma_min=1e-3, sigma_max=3.0, network=replace(network, layers=3)
        ),
        "lj-small": replace(published, diffusion_scale=0.9, network=network),
        "lj-large": replace(
            published,
            sigma_min=0.5,
            sigma_max=4.0,
            draws=100,
            batch=128,
            samples_per_round=128,
            steps=200_000,
            diffusion_scale=0.5,
            network=network,
        ),
    }
    return {"idem": sizes.get(row, replace(published, network=network)), "n_samples": 10_000}


_IDEM = {"smoke": _idem_smoke, "laptop": _idem_laptop, "paper": _idem_paper}


def _chains(name: Preset, row: str) -> ChainOptions:
    if name == "smoke":
        ladders = 16 if row in ("molecule", "lj-large") else 32
        return ChainOptions(chains=ladders, kept=40, warmup=100, leapfrog=5, rungs=6, hottest=3.0)
    sizes = {
        "dw4": ChainOptions(chains=64, kept=800, leapfrog=8, hottest=4.0),
        "lj-small": ChainOptions(chains=32, kept=1000, thin=4, rungs=3, hottest=1.43),
        "lj-large": ChainOptions(
            chains=16, kept=1500, thin=4, warmup=300, leapfrog=15, rungs=6, hottest=1.43
        ),
        "molecule": ChainOptions(
            chains=32, kept=4000, thin=10, warmup=4000, leapfrog=12, rungs=8, hottest=3.0
        ),
    }
    usual = ChainOptions(chains=128, kept=500, hottest=50.0, rungs=6)
    return sizes.get(row, usual)


def _smc(name: Preset, row: str) -> SmcOptions:
    length, _ = _LENGTHS[row]
    if name == "smoke":
        return SmcOptions(particles=64, moves=2, sigma=1.2 * length)
    return SmcOptions(sigma=1.2 * length)


def _md(name: Preset) -> MdOptions:
    if name == "smoke":
        return MdOptions(chains=2, equilibration_ps=1.0, save_every_ps=0.1)
    return MdOptions()
