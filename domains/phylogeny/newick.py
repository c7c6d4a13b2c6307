"""Newick: one tree as nested parentheses, `(a:0.1,(b:0.2,c:0.3)0.95:0.05,d:0.1);`.

A label after a closing parenthesis that is a number is the support of the edge above (of several, as in
"98/100", the first), as is MrBayes' `[&prob=0.95]`. A node with more than two children is resolved with
edges of length zero; the usual three branches at the root of an unrooted tree are no multifurcation.
Nodes with one child are left out, their lengths added. The tokens of a tree are found by one regular
expression and read in one pass, in postorder, which is the order of the rows of `Trees`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.nexus import quoted, unquoted
from domains.phylogeny.trees import Trees
from workbench.errors import InputError

_TOKENS = re.compile(
    r"[(),;]|:\s*[^\s(),:;\[\]]+|\[[^\]]*\]|'(?:[^']|'')*'|[^\s(),:;\[\]']+|[:\[\]']"
)
_SUPPORT = re.compile(r"[&,](?:prob|posterior|support)=([0-9.eE+-]+)")


@dataclass
class ParsedTree:
    """One tree before it joins a batch. `lengths` and `supports` are NaN where the text has none."""

    children: list[tuple[int, int]] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    supports: list[float] = field(default_factory=list)
    multifurcates: bool = False


def parse_newick(text: str, tip_of: Callable[[str], int], n_taxa: int) -> ParsedTree:
    """Reads one tree. `tip_of` gives the number of a label, or -1 for an unknown one.

    Raises InputError for bad syntax (naming the character's position), unknown, missing or duplicate
    tips (listing them) and lengths that are negative or no number.
    """
    parser = _Parser(tip_of, n_taxa)
    tokens = _TOKENS.findall(text)
    at = 0
    try:
        for token in tokens:
            parser.read(token)
            at += 1
    except _SyntaxProblem as problem:
        position = [match.start() for match in _TOKENS.finditer(text)][at] + 1
        raise InputError(f"{problem} at character {position}: check the tree") from None
    return parser.finished()


def tip_labels(text: str) -> list[str]:
    """The labels of the tips in order of appearance, quotes removed."""
    labels, before = [], "("
    for token in _TOKENS.findall(text):
        if token[0] == "[":
            continue
        if token[0] not in "(),;:" and before in "(,":
            labels.append(unquoted(token))
        before = token[0]
    return labels


class _SyntaxProblem(Exception):
    """What is wrong with the token just read."""


class _Parser:
    """Reads tokens; `open` holds the children so far of each open parenthesis."""

    def __init__(self, tip_of: Callable[[str], int], n_taxa: int) -> None:
        self.tip_of, self.n_taxa = tip_of, n_taxa
        self.open: list[list[int]] = []
        self.node = -1  # the node that a label, comment or length now belongs to
        self.last = ","
        self.tree = ParsedTree()
        self.lengths = [math.nan] * (2 * n_taxa)
        self.supports = [math.nan] * (2 * n_taxa)
        self.seen = [False] * n_taxa
        self.duplicates: list[str] = []
        self.unknown: list[str] = []
        self.done = False

    def read(self, token: str) -> None:
        sign = token[0]
        if self.done:
            raise _SyntaxProblem(f'"{token}" after the end')
        if sign == "(":
            if self.last not in "(,":
                raise _SyntaxProblem('"(" without a comma before it')
            self.open.append([])
        elif sign in ",)":
            self._close_child(sign)
        elif sign == ":":
            self._length(token[1:].strip())
        elif sign == "[":
            found = _SUPPORT.search(token)
            if found and self.node >= self.n_taxa:
                self.supports[self.node] = _number(found.group(1))
            return
        elif sign == ";":
            self.done = True
        else:
            self._label(token)
            sign = "a"
        self.last = sign

    def _label(self, token: str) -> None:
        if self.last == ")":
            if self.node >= self.n_taxa:
                self.supports[self.node] = _number(unquoted(token).split("/")[0])
            return
        if self.last not in "(,":
            raise _SyntaxProblem(f'"{token}" without a comma or quotes')
        label = unquoted(token)
        tip = self.tip_of(label)
        if tip < 0:
            self.unknown.append(label)
        elif self.seen[tip]:
            self.duplicates.append(label)
        else:
            self.seen[tip] = True
        self.node = tip

    def _length(self, number: str) -> None:
        length = _number(number)
        if not math.isfinite(length):
            raise _SyntaxProblem(f'branch length "{number}" is no number')
        if length < 0:
            raise _SyntaxProblem(f"negative branch length {number}")
        if self.node >= 0:
            before = self.lengths[self.node]
            self.lengths[self.node] = length if math.isnan(before) else before + length

    def _close_child(self, sign: str) -> None:
        if not self.open:
            raise _SyntaxProblem(f'"{sign}" without an open parenthesis')
        if self.last in "(,":
            raise _SyntaxProblem(f'nothing before "{sign}"')
        self.open[-1].append(self.node)
        if sign == ")":
            members = self.open.pop()
            known = not (self.unknown or self.duplicates)
            self.node = self._joined(members) if known else -1

    def _joined(self, members: list[int]) -> int:
        if len(members) > (2 if self.open else 3):
            self.tree.multifurcates = True
        node = members[0]
        rows = self.tree.children
        for other in members[1:]:
            rows.append((node, other))
            node = self.n_taxa + len(rows) - 1
            self.lengths[node] = 0.0
        if len(members) > 1:
            self.lengths[node] = math.nan
        return node

    def finished(self) -> ParsedTree:
        if self.open:
            raise InputError(f"{len(self.open)} parentheses are not closed: check the tree")
        if self.duplicates:
            raise InputError(f"tips that occur twice: {', '.join(self.duplicates)}; name each once")
        if self.unknown:
            raise InputError(
                f"tips that are not in the alignment: {', '.join(self.unknown)}; correct the names or "
                "remove these tips"
            )
        if len(self.tree.children) != self.n_taxa - 1:
            raise InputError("fewer tips than taxa")
        self.tree.lengths = self.lengths[: 2 * self.n_taxa - 2]
        self.tree.supports = self.supports[: 2 * self.n_taxa - 2]
        return self.tree


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def format_newick(
    trees: Trees,
    names: Sequence[str],
    supports: Float[Tensor, "tree edge"] | None = None,
    rooted: bool = False,
) -> list[str]:
    """One Newick string per tree, numbers with all their digits. `names` are written as they are (see
    `quoted_names`). An unrooted tree gets three branches at its root. Supports that are not a number are left
    out; `supports` belongs to edges as `lengths` does.
    """
    n_taxa = trees.n_taxa
    children, lengths = trees.children.numpy(), trees.lengths.double().numpy()
    labels = np.full(lengths.shape, np.nan) if supports is None else supports.double().numpy()
    lines = []
    for rows, edges, marks in zip(
        children.tolist(), lengths.tolist(), labels.tolist(), strict=True
    ):
        texts = list(names) + [""] * (n_taxa - 1)
        if not rooted:
            # The root's edge is written once, above the root's other child.
            edges[min(rows[-1])] += edges[-1]
        for k, (left, right) in enumerate(rows[:-1]):
            mark = "" if math.isnan(marks[n_taxa + k]) else repr(marks[n_taxa + k])
            inner = f"{_edge(texts[left], edges[left])},{_edge(texts[right], edges[right])}"
            # Node 2n-3 is left open: its children become two of the root's three.
            is_open = not rooted and k == n_taxa - 3
            texts[n_taxa + k] = inner if is_open else f"({inner}){mark}"
        parts = [
            texts[v] if not rooted and v == 2 * n_taxa - 3 else _edge(texts[v], edges[v])
            for v in rows[-1]
        ]
        lines.append(f"({','.join(parts)});")
    return lines


def _edge(text: str, length: float) -> str:
    return text if math.isnan(length) else f"{text}:{length!r}"


def quoted_names(names: Sequence[str]) -> list[str]:
    """Names as they may stand in a tree."""
    return [quoted(name) for name in names]
