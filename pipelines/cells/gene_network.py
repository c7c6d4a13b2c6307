"""Reading a gene network: structured velocity networks on half of the cells each, averaged.

Genes are put on one scale; each fit's edge scores are divided by their sum per target, and averaged over the
fits (stability selection: Meinshausen and Buhlmann 2010): that average is one network. Several independent
networks give an error. Where the truth is known they are ranked beside Spearman correlation and a tree ensemble
on all cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import t as student_t

from domains.cells.gene_baselines import spearman_edges, tree_edges
from domains.cells.gene_scores import EdgeScore, edge_score, edges_of, read_edges
from domains.cells.representation import log_expression
from domains.cells.structured import StructuredVelocity
from pipelines.cells.options import Config
from pipelines.cells.prepare import Problem
from workbench.bridge.options import BridgeConfig
from workbench.bridge.training import train
from workbench.errors import InputError, nearest
from workbench.runs.folder import RunFolder
from workbench.runs.metrics import Figure

FEWEST = 4
TREE_SEEDS = 3
RESAMPLINGS = 100


@dataclass(frozen=True, eq=False)
class ReadNetwork:
    """genes [gene]; scores [source, target]; truth where it is known; `per_fit` scores of each fit."""

    genes: list[str]
    scores: Float[np.ndarray, "source target"]
    per_fit: list[Float[np.ndarray, "source target"]]
    truth: Float[np.ndarray, "source target"] | None
    figures: dict[str, Figure]
    lines: list[str]


def read_network(config: Config, problem: Problem, folder: RunFolder) -> ReadNetwork | None:
    """Raises InputError for genes that are not in the file or a bad table of true edges."""
    if not config.network.read:
        return None
    columns, genes = _genes(config, problem)
    truth = _truth(config, problem, genes)
    cells = _expression(problem, columns)
    options = config.network
    fits = [
        _fit(config, problem, cells, seed, folder)
        for seed in range(options.estimates * options.seeds)
    ]
    estimates = [fits[k : k + options.seeds] for k in range(0, len(fits), options.seeds)]
    scores = np.mean(fits, axis=0)
    figures, lines = _judged(estimates, truth, np.concatenate(cells))
    return ReadNetwork(genes, scores, fits, truth, figures, lines)


def _genes(config: Config, problem: Problem) -> tuple[np.ndarray, list[str]]:
    names = [str(name) for name in problem.course.data.var_names]
    if config.network.genes:
        missing = [gene for gene in config.network.genes if gene not in names]
        if missing:
            raise InputError(
                f'there is no gene "{missing[0]}" in the file{nearest(missing[0], names)}: see its var_names'
            )
        columns = np.array([names.index(gene) for gene in config.network.genes])
        return columns, list(config.network.genes)
    most = min(config.network.most_genes, len(names))
    if most == len(names):
        return np.arange(len(names)), names
    rows = np.arange(problem.course.data.n_obs)
    values = log_expression(
        problem.course.data, rows, np.arange(len(names)), problem.normalise, config.layer
    )
    chosen = np.sort(np.argsort(-values.var(0), kind="stable")[:most])
    return chosen, [names[i] for i in chosen]


def _truth(config: Config, problem: Problem, genes: list[str]) -> np.ndarray | None:
    if config.network.truth is not None:
        return read_edges(config.network.truth, genes)
    table = problem.course.data.uns.get("network")
    return None if table is None or not len(table) else edges_of(table, genes, "uns['network']")


def _expression(problem: Problem, columns: np.ndarray) -> list[np.ndarray]:
    """Expression per time, each gene with mean zero and deviation one over all cells."""
    course = problem.course
    rows = np.arange(course.data.n_obs)
    values = log_expression(course.data, rows, columns, problem.normalise, problem.options.layer)
    scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    return [scaled[course.at(i)] for i in range(course.n_times)]


def _fit(
    config: Config, problem: Problem, cells: list[np.ndarray], seed: int, folder: RunFolder
) -> np.ndarray:
    """Edge scores of one fit on a random half of the cells of each time, columns summing to one."""
    generator = problem.generator(config.seed, f"network-{seed}")
    half = []
    for values in cells:
        order = torch.randperm(len(values), generator=generator)
        rows = order[: max(min(FEWEST, len(values)), len(values) // 2)]
        half.append(torch.from_numpy(values[rows.numpy()]).float())
    options = BridgeConfig(
        method="otcfm",
        sigma=config.sigma,
        steps=config.network.steps,
        batch=config.batch,
        learning_rate=config.network.learning_rate,
        ema_decay=config.ema_decay,
        coupling=config.coupling,
    )
    model = train(
        options,
        half,
        torch.from_numpy(problem.course.times),
        generator,
        velocity=lambda dim: StructuredVelocity(dim, config.network.hidden, config.network.penalty),
        folder=folder,
        name=f"network-{seed}",
    )
    edges = cast(StructuredVelocity, model.networks.velocity).edges().double().numpy()
    np.fill_diagonal(edges, 0.0)
    return edges / np.maximum(edges.sum(0, keepdims=True), 1e-12)


def _judged(
    estimates: list[list[np.ndarray]], truth: np.ndarray | None, cells: np.ndarray
) -> tuple[dict[str, Figure], list[str]]:
    fits = [fit for one in estimates for fit in one]
    kept = float(np.mean([(fit > 0).mean() for fit in fits]))
    lines = [
        f"{len(fits[0])} genes; edges are column norms of the first layer, from {len(fits)} fits on half of "
        f"the cells each; {kept:.0%} of all edges survive the penalty in a fit.",
        "An edge says that a regulator's level helps to predict how its target changes: without knock-outs "
        "that is no proof of a cause.",
    ]
    if truth is None:
        why = "the true network is not known"
        return {name: Figure(None, why=why) for name in ("grn_auroc", "grn_ap")}, lines
    found = [edge_score(np.mean(one, axis=0), truth) for one in estimates]
    rivals = {"spearman": [edge_score(spearman_edges(cells), truth)] * len(found)}
    n_trees = max(TREE_SEEDS, len(found))
    rivals["trees"] = [edge_score(tree_edges(cells, seed), truth) for seed in range(n_trees)]
    single = [edge_score(fit, truth) for fit in fits]
    for name, one in (
        (f"{len(found)} networks of {len(estimates[0])} fits", found),
        ("single fits", single),
        *rivals.items(),
    ):
        lines.append(
            f"{name}: AUROC {_mean(one, 'auroc'):.3f}, average precision {_mean(one, 'average_precision'):.3f} "
            f"(chance {found[0].base:.3f})."
        )
    figures = {}
    for key, name in (("auroc", "grn_auroc"), ("average_precision", "grn_ap")):
        values = np.array([getattr(one, key) for one in found])
        stderr, interval = _over_estimates(values) or _over_fits(estimates[0], truth, key)
        baseline = max(_mean(one, key) for one in rivals.values())
        figures[name] = Figure(
            float(values.mean()), stderr, len(found), baseline=baseline, interval=interval
        )
        for rival, scores in rivals.items():
            if len(found) > 1:
                theirs = np.array([getattr(one, key) for one in scores[: len(found)]])
                figures[f"{name}_difference/{rival}"] = _paired(values - theirs)
    return figures, lines


def _paired(differences: np.ndarray) -> Figure:
    found = _over_estimates(differences)
    assert found is not None
    return Figure(float(differences.mean()), found[0], len(differences), interval=found[1])


def _over_estimates(values: np.ndarray) -> tuple[float, tuple[float, float]] | None:
    """Standard error of the mean over estimates and its 95 % interval by Student's t."""
    if len(values) < 2:
        return None
    mean, stderr = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    reach = float(student_t.ppf(0.975, len(values) - 1)) * stderr
    return stderr, (mean - reach, mean + reach)


def _over_fits(
    fits: list[np.ndarray], truth: np.ndarray, key: str
) -> tuple[float | None, tuple[float, float] | None]:
    """Standard error and 95 % interval of one averaged network's score, its fits drawn with replacement."""
    if len(fits) < 2:
        return None, None
    random = np.random.default_rng(0)
    stacked = np.stack(fits)
    rows = random.integers(len(fits), size=(RESAMPLINGS, len(fits)))
    values = [getattr(edge_score(stacked[r].mean(0), truth), key) for r in rows]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(np.std(values, ddof=1)), (float(low), float(high))


def _mean(scores: list[EdgeScore], key: str) -> float:
    return float(np.mean([getattr(one, key) for one in scores]))
