"""From options to a problem: elements, masks, energies, the reward, random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pymatgen.core import Structure

from domains.crystals import chgnet_energy
from domains.crystals.balance import Balance
from domains.crystals.chgnet_energy import ChgnetEnergy
from domains.crystals.elements import Elements, elements
from domains.crystals.environment import CrystalEnvironment
from domains.crystals.equivalents import Equivalents
from domains.crystals.fitted_energy import FitConfig, FittedEnergy
from domains.crystals.ionic import IonicEnergy
from domains.crystals.judging import known_structures
from domains.crystals.orbits import OrbitEnvironment
from domains.crystals.reachable import Limits
from domains.crystals.reward import Reward, RewardConfig
from domains.crystals.three_stages import ThreeStages, log_weight
from pipelines.crystals.options import Config
from workbench.errors import InputError, nearest
from workbench.training.devices import resolve_device, set_threads


@dataclass(frozen=True)
class Problem:
    """What is sampled.

    energy        what crystals are finally judged by, counted
    fitted        the fast energy that the sampler learns from; None where `energy` is fast enough
    reward        log R - log m, from the one that the sampler learns from
    stages        the three stages where they are sampled; their objects become crystals of `environment`
    known         structures of the novelty folder; None = substituted structure types
    """

    elements: Elements
    limits: Limits
    environment: CrystalEnvironment
    equivalents: Equivalents
    energy: ChgnetEnergy | IonicEnergy
    fitted: FittedEnergy | None
    reward: Reward
    known: list[Structure] | None
    stages: ThreeStages | None

    def generator(self, seed: int, stage: str) -> torch.Generator:
        """Random numbers of one stage: stages do not depend on each other's length."""
        return generator(seed, stage)


def generator(seed: int, stage: str) -> torch.Generator:
    """Random numbers of one stage."""
    mixed = seed * 1_000_003 + sum(ord(c) * 131**k for k, c in enumerate(stage))
    return torch.Generator().manual_seed(mixed % 2**63)


def problem(config: Config) -> Problem:
    """CHGNet runs on the device asked for, everything else on the processor.

    Raises InputError for elements, groups and limits that leave nothing, for a missing CHGNet, and for
    a novelty folder that cannot be read."""
    set_threads(config.threads)
    device = resolve_device(config.device)
    chosen = elements(config.elements)
    limits = Limits(
        config.max_atoms,
        config.min_elements,
        min(config.max_elements, len(chosen)),
        tuple(_required(chosen, symbol) for symbol in config.required_elements),
    )
    if limits.most_kinds < limits.fewest_kinds:
        raise InputError(
            f"--min-elements is {config.min_elements} but only {len(chosen)} elements are named: name "
            "more with --elements"
        )
    groups = config.space_groups or tuple(range(1, 231))
    orbits = OrbitEnvironment(chosen, tuple(dict.fromkeys(groups)), limits)
    known = known_structures(config.novelty) if config.novelty is not None else None
    energy: ChgnetEnergy | IonicEnergy = IonicEnergy()
    if config.energy == "chgnet":
        chgnet_energy.check_elements(chosen.symbols)
        energy = ChgnetEnergy(config.processes, str(device))
    environment = CrystalEnvironment(orbits, _unset, config.bins)
    equivalents = Equivalents(environment.parameters)
    rewarding = RewardConfig(config.target, config.beta, config.window)
    fitted = None
    three = config.environment == "three-stages"
    if config.energy == "chgnet" and config.target != "density" and not three:
        random = generator(config.seed, "fit")
        fitted = FittedEnergy(chosen, FitConfig(), random, rewarding.worst_ev_per_atom)
    _check_shares(config, chosen, orbits.n_groups)
    reward = Reward(rewarding, fitted or energy, equivalents, Balance(config.most.binding))
    environment.log_weight = reward
    stages = None
    if three:
        stages = ThreeStages(chosen, orbits.groups, limits, _unset, config.bins)
        stages.log_weight = log_weight(stages, rewarding)
    return Problem(chosen, limits, environment, equivalents, energy, fitted, reward, known, stages)


def _check_shares(config: Config, chosen: Elements, n_groups: int) -> None:
    """Raises InputError for shares that no law can keep."""
    starts = zip(chosen.first_state[:-1], chosen.first_state[1:], strict=True)
    n_anions = sum(bool((chosen.state[a:b] < 0).any()) for a, b in starts)
    for kind, share, n in (
        ("anion", config.most.anion, n_anions),
        ("group", config.most.group, n_groups),
    ):
        if share * n < 1.0:
            raise InputError(
                f"--most.{kind} {share:g} cannot hold: there are {n} to choose from, so one of them has at "
                f"least {1 / max(n, 1):.3f} of the crystals"
            )


def _required(chosen: Elements, symbol: str) -> int:
    if symbol not in chosen.symbols:
        hint = nearest(symbol, chosen.symbols)
        raise InputError(
            f'required element "{symbol}" is not among --elements{hint}: add it there, or leave it out here'
        )
    return chosen.index(symbol)


def _unset(*objects: object) -> torch.Tensor:
    raise RuntimeError("the reward is not set yet")
