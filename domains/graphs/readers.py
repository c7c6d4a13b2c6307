"""Graphs from files: DIMACS, METIS, edge lists, GraphML, and networkx objects.

    DIMACS     `p edge N M`, then `e u v [weight]` and `n v weight`, vertices from 1
               .dimacs .col .clq .mis
    METIS      `N M [format [n_weights]]`, then one line of neighbours per vertex, from 1
               .metis .graph
    edge list  `u v [weight]` per line, `#` or `%` begins a comment; names are kept
               .edges .edgelist .txt .csv .tsv
    GraphML    `weight` of nodes and edges is read
               .graphml .xml

Names of vertices in an edge list or GraphML may be anything; whole numbers are put in their order. A vertex
without edges cannot stand in an edge list, unless its name is a line of its own. Every mistake is an
InputError with its line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import networkx
import numpy as np

from domains.graphs.graphs import Graph, check_fits, make_graph
from workbench.errors import InputError

COMMENTS = ("#", "%", "//")


def read_graph(path: Path, file_format: str | None = None) -> Graph:
    """The graph in a file; its format is that of the name's ending unless given ("dimacs", "metis",
    "edge-list", "graphml"). Raises InputError for a file that cannot be read or holds no graph."""
    kind = file_format or _FORMAT_OF.get(path.suffix.lower())
    if kind not in _READERS:
        known = ", ".join(sorted(_FORMAT_OF))
        raise InputError(
            f"the format of {path} cannot be told from its name: give one of {known}, or the format "
            f"({', '.join(_READERS)})"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read graph {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text: give a graph as DIMACS, METIS, edge list or GraphML"
        ) from error
    if not text.strip():
        raise InputError(f"graph {path} is empty: give a file with at least one vertex")
    return _READERS[kind](path, text)


def _lines(text: str, comments: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that says something."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").split()
        if words and not line.lstrip().startswith(comments):
            yield number, words


def _whole(word: str, path: Path, number: int, what: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise InputError(
            f'{path}, line {number}: {what} is "{word}", not a whole number'
        ) from error


def _real(word: str, path: Path, number: int) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise InputError(f'{path}, line {number}: weight is "{word}", not a number') from error
    if not math.isfinite(value):
        raise InputError(f"{path}, line {number}: weight is {word}: give a finite number")
    return value


def _vertex(word: str, n: int, path: Path, number: int) -> int:
    v = _whole(word, path, number, "a vertex")
    if not 1 <= v <= n:
        raise InputError(
            f"{path}, line {number}: vertex {v} and the graph has the vertices 1 to {n}: mend the line or "
            "the header"
        )
    return v - 1


def read_dimacs(path: Path, text: str) -> Graph:
    """DIMACS colouring and clique files, with weights where there are some."""
    n, edges, edge_weights, weights, weighted = 0, [], [], np.ones(0), False
    for number, words in _lines(text, ("c ",)):
        kind = words[0]
        if kind == "c":
            continue
        if kind == "p":
            if len(words) < 4:
                raise InputError(f"{path}, line {number}: write `p edge VERTICES EDGES`")
            n = _whole(words[2], path, number, "the number of vertices")
            check_fits(str(path), n, _whole(words[3], path, number, "the number of edges"))
            weights = np.ones(max(n, 0))
        elif n < 1:
            raise InputError(f"{path}, line {number}: `p edge VERTICES EDGES` has to come first")
        elif kind == "a":
            raise InputError(
                f"{path}, line {number}: arcs (`a`) have a direction and these problems take undirected "
                "graphs: write edges (`e`)"
            )
        elif kind == "e" and len(words) in (3, 4):
            edges.append([_vertex(word, n, path, number) for word in words[1:3]])
            edge_weights.append(_real(words[3], path, number) if len(words) == 4 else 1.0)
            weighted |= len(words) == 4
        elif kind in ("n", "v") and len(words) == 3:
            weights[_vertex(words[1], n, path, number)] = _real(words[2], path, number)
        else:
            raise InputError(f'{path}, line {number}: "{" ".join(words)}" is not a line of DIMACS')
    return make_graph(
        path.stem,
        n,
        np.array(edges, dtype=np.int64).reshape(-1, 2),
        np.array(edge_weights) if weighted else None,
        weights,
        [str(v + 1) for v in range(n)],
    )


def read_metis(path: Path, text: str) -> Graph:
    """METIS graphs, weights of vertices (the first, where there are several) and edges included."""
    lines = [
        (number, line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if not line.lstrip().startswith("%")
    ]
    number, header = lines[0]
    if len(header) < 2:
        raise InputError(f"{path}, line {number}: a METIS graph begins with `VERTICES EDGES`")
    n, m = (_whole(word, path, number, "a size") for word in header[:2])
    check_fits(str(path), n, m)
    code = header[2].zfill(3) if len(header) > 2 else "000"
    n_weights = int(header[3]) if len(header) > 3 else int(code[1] == "1")
    skipped, has_edge_weights = int(code[0] == "1"), code[2] == "1"
    body = lines[1 : n + 1]
    if len(body) < n:
        raise InputError(
            f"{path}: {n} vertices are announced and {len(body)} lines follow: add them"
        )
    edges, edge_weights, weights = [], [], np.ones(n)
    for v, (number, words) in enumerate(body):
        if n_weights:
            if len(words) < skipped + n_weights:
                raise InputError(f"{path}, line {number}: the vertex weight is missing")
            weights[v] = _real(words[skipped], path, number)
        rest = words[skipped + n_weights :]
        stride = 1 + has_edge_weights
        if len(rest) % stride:
            raise InputError(f"{path}, line {number}: an edge has no weight")
        for k in range(0, len(rest), stride):
            edges.append([v, _vertex(rest[k], n, path, number)])
            edge_weights.append(_real(rest[k + 1], path, number) if has_edge_weights else 1.0)
    return _from_both_ends(path, n, edges, edge_weights, weights, has_edge_weights)


def _from_both_ends(
    path: Path, n: int, edges: list, edge_weights: list, weights: np.ndarray, weighted: bool
) -> Graph:
    """A graph whose file names each edge at both of its ends. Raises InputError for one that does not."""
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    forth = np.sort(pairs[pairs[:, 0] < pairs[:, 1]] @ np.array([n, 1]))
    back = np.sort(pairs[pairs[:, 0] > pairs[:, 1]] @ np.array([1, n]))
    if not np.array_equal(forth, back):
        single = np.setxor1d(forth, back)
        alone = int(single[0]) if len(single) else int(forth[0])
        raise InputError(
            f"{path}: the edge {alone // n + 1} {alone % n + 1} stands at one of its ends only, as "
            "if edges had directions: write it in both lines"
        )
    once = pairs[:, 0] <= pairs[:, 1]
    chosen = np.array(edge_weights)[once] if weighted else None
    names = [str(v + 1) for v in range(n)]
    return make_graph(path.stem, n, pairs[once], chosen, weights, names)


def read_edge_list(path: Path, text: str) -> Graph:
    """One edge per line, with names of any kind and an optional weight."""
    rows, weighted = [], False
    for number, words in _lines(text, COMMENTS):
        if len(words) > 3:
            raise InputError(
                f'{path}, line {number}: "{" ".join(words)}" has more than two vertices and a weight'
            )
        weight = _real(words[2], path, number) if len(words) == 3 else 1.0
        weighted |= len(words) == 3
        rows.append((words[0], words[1] if len(words) > 1 else None, weight))
    known = {word for row in rows for word in row[:2] if word is not None}
    names = sorted(known, key=_number_first)
    place = {name: v for v, name in enumerate(names)}
    kept = [(place[one], place[other], w) for one, other, w in rows if other is not None]
    edges = np.array([pair[:2] for pair in kept], dtype=np.int64).reshape(-1, 2)
    weights = np.array([pair[2] for pair in kept]) if weighted else None
    return make_graph(path.stem, len(names), edges, weights, None, names)


def _number_first(name: str) -> tuple[int, int, str]:
    """Whole numbers in their order, then other names in theirs."""
    return (0, int(name), "") if name.lstrip("-").isdigit() else (1, 0, name)


def read_graphml(path: Path, text: str) -> Graph:
    """GraphML, undirected."""
    try:
        found = networkx.parse_graphml(text)
    except Exception as error:  # the parser's own and those of the XML library have no common base
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is not GraphML ({reason}): mend it or give another format"
        ) from error
    return from_networkx(found, path.stem)


def from_networkx(graph: networkx.Graph, name: str = "graph") -> Graph:
    """A networkx graph; `weight` of nodes and edges counts. Raises InputError for a directed one."""
    if graph.is_directed():
        raise InputError(
            f"graph {name} is directed and these problems take undirected graphs: forget the directions "
            "first, if that is what you mean"
        )
    names = list(graph.nodes)
    place = {node: v for v, node in enumerate(names)}
    ends = list(graph.edges(data="weight"))
    edges = np.array([[place[u], place[v]] for u, v, _ in ends], dtype=np.int64).reshape(-1, 2)
    weighted = any(weight is not None for *_, weight in ends)
    try:
        edge_weight = np.array([1.0 if w is None else float(w) for *_, w in ends])
        weights = np.array([float(w) for _, w in graph.nodes(data="weight", default=1.0)])
    except (TypeError, ValueError) as error:
        raise InputError(f"graph {name} has a weight that is not a number: mend it") from error
    return make_graph(
        name, len(names), edges, edge_weight if weighted else None, weights, [str(v) for v in names]
    )


_READERS: dict[str, Callable[[Path, str], Graph]] = {
    "dimacs": read_dimacs,
    "metis": read_metis,
    "edge-list": read_edge_list,
    "graphml": read_graphml,
}
_FORMAT_OF = {
    **dict.fromkeys([".dimacs", ".col", ".clq", ".mis"], "dimacs"),
    **dict.fromkeys([".metis", ".graph"], "metis"),
    **dict.fromkeys([".edges", ".edgelist", ".txt", ".csv", ".tsv"], "edge-list"),
    **dict.fromkeys([".graphml", ".xml"], "graphml"),
}
