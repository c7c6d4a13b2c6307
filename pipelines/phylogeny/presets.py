"""The defaults of every (preset, target, method), scaled with the taxa: the only place where sizes are chosen.

smoke   within a minute on 2 cores: everything runs, nothing is converged; six mammals, so that all trees can
        be listed
laptop  the default, 2 cores without a GPU: from minutes for 6 taxa to an hour and more for 27
paper   sizes and settings of the published runs, meant for a GPU
"""

from __future__ import annotations

import typing
from dataclasses import replace
from pathlib import Path

from domains.phylogeny.forest_options import ForestSettings, recommended
from pipelines.options import Preset
from pipelines.phylogeny.options import (
    ChainOptions,
    Config,
    Method,
    MrBayesOptions,
    SearchOptions,
    StoneOptions,
    Target,
)
from workbench.errors import InputError, nearest
from workbench.gflownet.options import Exploration, ReplayConfig, TemperatureConfig

N_EMBEDDED = 16
SMOKE_TAXA = ("Human", "Galago", "Mouse", "Cow", "Horse", "Anteater")


def preset(
    name: Preset,
    target: str = "posterior",
    method: str | None = None,
    alignment: str | None = None,
) -> Config:
    """Every option at its value for this preset, target, method and number of taxa. Raises InputError for
    an unknown target or method and for an alignment that cannot be read."""
    _check("target", target, typing.get_args(Target))
    chosen = method or "gflownet"
    _check("method", chosen, typing.get_args(Method))
    training = vars(recommended(target, steps=1))  # type: ignore[arg-type]
    config = Config(preset=name, target=target, method=chosen, **training)  # type: ignore[arg-type]
    tables = {"smoke": _smoke, "laptop": _laptop, "paper": _paper}
    return tables[name](config, _n_taxa(alignment), alignment is None)


def _check(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f'unknown {option} "{value}"{nearest(value, known)}: one of {known}')


def _n_taxa(alignment: str | None) -> int:
    if alignment is None:
        return N_EMBEDDED
    from domains.phylogeny.alignment import read_alignment

    return len(read_alignment(Path(alignment)).names)


def _smoke(config: Config, n_taxa: int, is_embedded: bool) -> Config:
    return replace(
        config,
        taxa=SMOKE_TAXA if is_embedded else (),
        steps=100,
        batch=64,
        ema_decay=0.9,
        n_samples=500,
        n_importance=64,
        n_repeats=4,
        n_evaluations=5,
        chain=ChainOptions(rounds=300, steps=20),
        stone=StoneOptions(stones=10, rounds=60, steps=20),
        search=SearchOptions(evaluations=20_000, local=2_000),
        programs=MrBayesOptions(generations=0),
    )


def _laptop(config: Config, n_taxa: int, is_embedded: bool) -> Config:
    """Steps grow with a power of the taxa, and each takes longer: 6 taxa train in a minute or two, 27 in about
    an hour, which is not enough for the posterior of DS1."""
    return replace(config, steps=max(200, round(500 * (n_taxa / 6) ** 1.5)), batch=64)


def _paper(config: Config, n_taxa: int, is_embedded: bool) -> Config:
    """Zhou et al. (2024, arXiv 2310.08774) and their public configurations: batches of 32 + 32 (parsimony) and
    64 + 64 (posterior), trajectory balance, replay of the best trees, epsilon from 0.5."""
    parsimony = config.target == "parsimony"
    return replace(
        config,
        objective="tb",
        steps=400_000 if parsimony else 100_000,
        batch=32 if parsimony else 64,
        learning_rate=5e-5 if parsimony else 1e-4,
        log_partition_rate=5e-3 if parsimony else 1e-2,
        exploration=Exploration(epsilon=0.5, annealed=0.5),
        replay=ReplayConfig(
            kind="diverse", capacity=100 if parsimony else 10_000, fraction=1.0, paths="backward"
        ),
        temperature=TemperatureConfig()
        if parsimony
        else TemperatureConfig("annealed", 1 / 16, 1.0, 2 / 3),
        forest=ForestSettings(width=128, n_components=5, temperature=4.0 if parsimony else 1.0),
    )
