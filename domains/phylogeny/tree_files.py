"""Files of trees: Newick, one after the other, or a NEXUS TREES block; read into `Trees` and written.

Of NEXUS the `translate` table, names of trees, and weights `[&W 0.25]` are read. Names are compared as
they are; where that fails, a blank and an underscore count as the same, as Newick has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from domains.phylogeny.alignment import SMALLEST, read_text
from domains.phylogeny.newick import (
    ParsedTree,
    format_newick,
    parse_newick,
    quoted_names,
    tip_labels,
)
from domains.phylogeny.nexus import is_nexus, read_blocks, unquoted, without_comments
from domains.phylogeny.trees import Trees
from workbench.errors import InputError

_TREE = re.compile(
    r"\s*\*?\s*('(?:[^']|'')*'|[^\s=\[]+)\s*((?:\[[^\]]*\]\s*)*)=\s*((?:\[[^\]]*\]\s*)*)"
)
_WEIGHT = re.compile(r"\[&\s*[wW]\s+([0-9.eE+-]+)(?:\s*/\s*([0-9.eE+-]+))?\s*\]")
_QUOTED_OR_END = re.compile(r"'(?:[^']|'')*'|\[[^\]]*\]|;")


@dataclass(frozen=True)
class TreeFile:
    """The trees of a file.

    trees      tips in the order of `names`; lengths are NaN where the file has none
    names      taxa
    labels     name of each tree, "" where it has none
    weights    [tree]; 1 where the file gives none
    supports   [tree, 2n-2] of the edge above each node; NaN where the file gives none
    warnings   one sentence each
    """

    trees: Trees
    names: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Float[Tensor, "tree"]
    supports: Float[Tensor, "tree edge"]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    label: str
    weight: float
    newick: str


def read_trees(path: Path, names: Sequence[str] | None = None) -> TreeFile:
    """Every tree of a Newick or NEXUS file. `names` are the taxa, in the order that tips are numbered by;
    None takes those of the first tree, in its order.

    Raises InputError, naming file and tree, for what `parse_newick` refuses, for fewer than 3 tips, tips
    that do not match `names`, and a file without trees.
    """
    text = read_text(path, "tree file")
    if is_nexus(text):
        entries, translate = _nexus_entries(text, path.name)
    else:
        entries, translate = list(_newick_entries(without_comments(text, path.name))), {}
    if not entries:
        raise InputError(f"{path} holds no tree: give Newick, or NEXUS with a TREES block")
    if names is None:
        found = [translate.get(label, label) for label in tip_labels(entries[0].newick)]
        names = list(dict.fromkeys(found))
    if len(names) < SMALLEST:
        raise InputError(f"{path} has trees of {len(names)} tips: give {SMALLEST} or more")
    tip_of = _tip_finder(names, translate)
    parsed = [
        _parsed(entry, i, len(entries), tip_of, names, path.name) for i, entry in enumerate(entries)
    ]
    return TreeFile(
        Trees(
            torch.tensor([tree.children for tree in parsed]),
            torch.tensor([tree.lengths for tree in parsed], dtype=torch.float64),
        ),
        tuple(names),
        tuple(entry.label for entry in entries),
        torch.tensor([entry.weight for entry in entries], dtype=torch.float64),
        torch.tensor([tree.supports for tree in parsed], dtype=torch.float64),
        _warnings(parsed, path.name),
    )


def _warnings(parsed: list[ParsedTree], source: str) -> tuple[str, ...]:
    count = sum(tree.multifurcates for tree in parsed)
    if count == 0:
        return ()
    which = "a tree has" if count == 1 else f"{count} trees have"
    return (f"{source}: {which} multifurcations, resolved with edges of length zero",)


def _parsed(
    entry: _Entry,
    i: int,
    n_trees: int,
    tip_of: Callable[[str], int],
    names: Sequence[str],
    source: str,
) -> ParsedTree:
    where = source if n_trees == 1 else f"{source}, tree {i + 1}"
    try:
        tree = parse_newick(entry.newick, tip_of, len(names))
    except InputError as error:
        absent = _absent(entry.newick, tip_of, names)
        also = f" (taxa without a tip: {', '.join(absent)})" if absent else ""
        raise InputError(f"{where}: {error}{also}") from None
    return tree


def _absent(newick: str, tip_of: Callable[[str], int], names: Sequence[str]) -> list[str]:
    present = {tip_of(label) for label in tip_labels(newick)}
    return [name for tip, name in enumerate(names) if tip not in present]


def _tip_finder(names: Sequence[str], translate: dict[str, str]) -> Callable[[str], int]:
    """From a label to the number of its tip, -1 where it is no taxon; each label is looked up once."""
    exact = {name: tip for tip, name in enumerate(names)}
    loose: dict[str, int] = {}
    for tip, name in enumerate(names):
        # Two names that differ in nothing else are told apart by the exact form only.
        key = name.replace(" ", "_")
        loose[key] = -1 if key in loose else tip
    known: dict[str, int] = {}

    def tip_of(label: str) -> int:
        if label not in known:
            name = translate.get(label, label)
            tip = exact.get(name)
            known[label] = loose.get(name.replace(" ", "_"), -1) if tip is None else tip
        return known[label]

    return tip_of


def _newick_entries(text: str) -> Iterator[_Entry]:
    begun = 0
    for found in _QUOTED_OR_END.finditer(text):
        if found.group() == ";":
            yield _newick_entry(text[begun : found.start()])
            begun = found.end()
    if text[begun:].strip():
        yield _newick_entry(text[begun:])


def _newick_entry(text: str) -> _Entry:
    """Comments before the first parenthesis may hold a weight."""
    head, parenthesis, body = text.partition("(")
    return _Entry("", _weight(head), parenthesis + body if parenthesis else text)


def _nexus_entries(text: str, source: str) -> tuple[list[_Entry], dict[str, str]]:
    entries: list[_Entry] = []
    translate: dict[str, str] = {}
    for block in read_blocks(text, source):
        if block.name != "trees":
            continue
        for command in block.commands:
            if command.name == "translate":
                for pair in _split(command.words()):
                    if len(pair) != 2:
                        raise InputError(
                            f'{source}, line {command.line}: "{" ".join(pair)}" in TRANSLATE is not '
                            "a key and a name: quote names with blanks"
                        )
                    translate[unquoted(pair[0])] = unquoted(pair[1])
            elif command.name in ("tree", "utree"):
                match = _TREE.match(command.text)
                if match is None:
                    raise InputError(f"{source}, line {command.line}: write TREE name = (...);")
                label, before, after = match.groups()
                newick = command.text[match.end() :]
                entries.append(_Entry(unquoted(label), _weight(before + after), newick))
    return entries, translate


def _split(words: list[str]) -> list[list[str]]:
    """Words between commas; a comma at the end is allowed."""
    groups: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            groups.append([])
        else:
            groups[-1].append(word)
    return groups if groups[-1] else groups[:-1]


def _weight(comments: str) -> float:
    found = _WEIGHT.search(comments)
    if found is None:
        return 1.0
    whole, parts = found.groups()
    return float(whole) / float(parts or 1)


def write_newick(
    path: Path,
    trees: Trees,
    names: Sequence[str],
    supports: Float[Tensor, "tree edge"] | None = None,
    rooted: bool = False,
) -> None:
    """One tree per line, numbers in full."""
    lines = format_newick(trees, quoted_names(names), supports, rooted)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_nexus_trees(
    path: Path,
    trees: Trees,
    names: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    weights: Float[Tensor, "tree"] | None = None,
    supports: Float[Tensor, "tree edge"] | None = None,
    rooted: bool = False,
) -> None:
    """A NEXUS file with a TREES block and a `translate` table; weights as `[&W x]`, numbers in full."""
    numbers = [str(tip + 1) for tip in range(len(names))]
    labels = labels or [f"tree_{i + 1}" for i in range(len(trees))]
    table = ",\n".join(
        f"    {n} {name}" for n, name in zip(numbers, quoted_names(names), strict=True)
    )
    lines = ["#NEXUS", "BEGIN TREES;", f"  TRANSLATE\n{table};"]
    rooting = "[&R]" if rooted else "[&U]"
    newicks = format_newick(trees, numbers, supports, rooted)
    for i, (label, newick) in enumerate(zip(quoted_names(labels), newicks, strict=True)):
        weight = "" if weights is None else f"[&W {float(weights[i])!r}] "
        lines.append(f"  TREE {label} = {weight}{rooting} {newick}")
    path.write_text("\n".join([*lines, "END;", ""]), encoding="utf-8")
