"""Random graphs by recipe, seeded and reproducible, and small graphs that everybody knows.

RB   n groups of k vertices, each a clique; p uniform on [0.3, 1), a = ln k / ln n, r = -a / ln(1 - p),
     s = int(p n^(2a)); int(r n ln n - 1) times two random groups are joined by up to s random edges;
     isolated vertices are dropped; redrawn until the number of vertices is in range. n bounds the
     independence number from above; no solution is planted.
BA   preferential attachment of 4 edges for every new vertex (Barabási and Albert 1999)
ER   every pair is an edge with the same probability (Erdős and Rényi 1959)

Sizes of RB and BA: Zhang et al., "Let the flows tell" (2023, arXiv 2305.17010), and Sanokowski et
al. (2024, arXiv 2406.01661). The seed of graph i of a set is (seed, i): a longer set begins with the
shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import networkx
import numpy as np

from domains.graphs.graphs import Graph, make_graph
from workbench.errors import InputError, nearest

ATTACHED = 4  # edges of a new vertex of a BA graph


@dataclass(frozen=True)
class RBSizes:
    """Groups, vertices in a group and vertices in all, each from the first to the second number."""

    groups: tuple[int, int]
    group_size: tuple[int, int]
    vertices: tuple[int, int]


RB_SMALL = RBSizes((20, 24), (5, 11), (200, 300))
RB_LARGE = RBSizes((40, 54), (20, 24), (800, 1200))
RB_TINY = RBSizes((4, 6), (3, 5), (14, 24))


def random_rb(name: str, sizes: RBSizes, random: np.random.Generator) -> Graph:
    """One RB graph."""
    while True:
        n = int(random.integers(sizes.groups[0], sizes.groups[1] + 1))
        k = int(random.integers(sizes.group_size[0], sizes.group_size[1] + 1))
        p = random.uniform(0.3, 1.0)
        a = math.log(k) / math.log(n)
        rounds = int(-a / math.log(1.0 - p) * n * math.log(n) - 1)
        s = min(int(p * n ** (2 * a)), k * k)
        inner = np.stack(np.triu_indices(k, 1), 1)
        cliques = (inner[None] + k * np.arange(n)[:, None, None]).reshape(-1, 2)
        edges = [cliques, *(_joined(n, k, s, random) for _ in range(rounds))]
        used, packed = np.unique(np.concatenate(edges), return_inverse=True)
        if sizes.vertices[0] <= len(used) <= sizes.vertices[1]:
            low, high = packed.reshape(-1, 2).min(1), packed.reshape(-1, 2).max(1)
            key = np.unique(low * len(used) + high)
            return make_graph(name, len(used), np.stack([key // len(used), key % len(used)], 1))


def _joined(n: int, k: int, s: int, random: np.random.Generator) -> np.ndarray:
    """Up to `s` edges between two random groups."""
    one, other = random.choice(n, 2, replace=False)
    pair = random.choice(k * k, s, replace=False)
    return np.stack([one * k + pair // k, other * k + pair % k], 1)


def random_ba(name: str, vertices: tuple[int, int], random: np.random.Generator) -> Graph:
    """One BA graph of a size between the two."""
    n = int(random.integers(vertices[0], vertices[1] + 1))
    made = networkx.barabasi_albert_graph(n, ATTACHED, seed=int(random.integers(2**31)))
    return make_graph(name, n, np.array(made.edges).reshape(-1, 2))


def random_er(
    name: str, vertices: tuple[int, int], probability: float, random: np.random.Generator
) -> Graph:
    """One ER graph of a size between the two."""
    n = int(random.integers(vertices[0], vertices[1] + 1))
    rows, columns = np.triu_indices(n, 1)
    kept = random.random(len(rows)) < probability
    return make_graph(name, n, np.stack([rows, columns], 1)[kept])


_RANDOM: dict[str, Callable[[str, np.random.Generator], Graph]] = {
    "rb-tiny": lambda name, random: random_rb(name, RB_TINY, random),
    "rb-small": lambda name, random: random_rb(name, RB_SMALL, random),
    "rb-large": lambda name, random: random_rb(name, RB_LARGE, random),
    "ba-small": lambda name, random: random_ba(name, (200, 300), random),
    "ba-large": lambda name, random: random_ba(name, (800, 1200), random),
    "er-tiny": lambda name, random: random_er(name, (8, 16), 0.3, random),
    "er-small": lambda name, random: random_er(name, (90, 110), 0.1, random),
    "er-large": lambda name, random: random_er(name, (700, 800), 0.15, random),
}

_KNOWN: dict[str, Callable[[], networkx.Graph]] = {
    "petersen": networkx.petersen_graph,
    "frucht": networkx.frucht_graph,
    "heawood": networkx.heawood_graph,
    "icosahedral": networkx.icosahedral_graph,
    "dodecahedral": networkx.dodecahedral_graph,
    "karate": networkx.karate_club_graph,
}


def names() -> list[str]:
    """Every name that `instances` knows."""
    return [*_RANDOM, *_KNOWN, "known"]


def instances(name: str, n: int, seed: int) -> list[Graph]:
    """`n` random graphs of the family `name`; a graph that everybody knows comes once, whatever `n`, and
    "known" is all of those. Raises InputError for an unknown name."""
    if name == "known":
        return [_known(one) for one in _KNOWN]
    if name in _KNOWN:
        return [_known(name)]
    if name not in _RANDOM:
        raise InputError(
            f'"{name}" is neither a file nor a family of graphs{nearest(name, names())}: '
            f"one of {', '.join(names())}"
        )
    make = _RANDOM[name]
    return [make(f"{name}-{seed}-{i}", np.random.default_rng([seed, i])) for i in range(n)]


def _known(name: str) -> Graph:
    graph = networkx.convert_node_labels_to_integers(_KNOWN[name]())
    return make_graph(name, graph.number_of_nodes(), np.array(graph.edges).reshape(-1, 2))
