"""Sets of sites in NEXUS: `charset first = 1-300 310 400-900\\3;`, and partitions of them.

A range may end in `.` (the last site) and have a step; a set may name others, or `all`. Partitions come as
`charpartition name = label: sites, label: sites;`, or in MrBayes' form `partition name = 2: a, b;`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from domains.phylogeny.nexus import Block, Command, unquoted
from workbench.errors import InputError, nearest

Sites = Int64[np.ndarray, "site"]
_BLOCKS = ("sets", "assumptions", "mrbayes", "paup", "codons")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+|\.)(?:\s*\\\s*(\d+))?|'(?:[^']|'')*'|[^\s,;]+")


def read_site_sets(blocks: Sequence[Block], n_sites: int, source: str) -> dict[str, Sites]:
    """Every `charset`, sites counted from 0 and ascending, and every part of a `charpartition`."""
    sets: dict[str, Sites] = {}
    for command in _all(blocks, "charset"):
        name, text = _assignment(command, source)
        sets[name] = _sites(text, sets, n_sites, command, source)
    for command in _all(blocks, "charpartition"):
        for label, text in _parts(_assignment(command, source)[1]):
            if label and label not in sets:
                sets[label] = _sites(text, sets, n_sites, command, source)
    return sets


def read_partitions(
    blocks: Sequence[Block], sets: Mapping[str, Sites], n_sites: int, source: str
) -> dict[str, tuple[str, ...]]:
    """The names of the sets that make up each partition.

    Raises InputError for a set that is not declared and for sites that belong to two of them.
    """
    partitions: dict[str, tuple[str, ...]] = {}
    for command in (*_all(blocks, "partition"), *_all(blocks, "charpartition")):
        name, text = _assignment(command, source)
        if command.name == "partition":
            text = re.sub(r"^\s*\d+\s*:", "", text)
        members = tuple(unquoted(label or rest.strip()) for label, rest in _parts(text))
        counts = np.zeros(n_sites, np.int64)
        for member in members:
            if member not in sets:
                raise InputError(
                    f'{source}, line {command.line}: "{member}" is no charset'
                    f"{nearest(member, sets)}: declare it first"
                )
            counts[sets[member]] += 1
        if counts.max(initial=0) > 1:
            site = int(counts.argmax()) + 1
            raise InputError(
                f'{source}, line {command.line}: site {site} is in two sets of partition "{name}": '
                "correct the sets"
            )
        partitions[name] = members
    return partitions


def _all(blocks: Sequence[Block], name: str) -> list[Command]:
    return [
        command
        for block in blocks
        if block.name in _BLOCKS
        for command in block.commands
        if command.name == name
    ]


def _assignment(command: Command, source: str) -> tuple[str, str]:
    left, equals, right = command.text.partition("=")
    words = re.findall(r"'(?:[^']|'')*'|[^\s(*]+", left)
    if not equals or not words:
        raise InputError(f"{source}, line {command.line}: write {command.name} name = sites;")
    return unquoted(words[0]), right


def _parts(text: str) -> list[tuple[str, str]]:
    """`a: 1-3, b: 4-9` as (label, sites); a part without a colon has an empty label."""
    parts = []
    for part in text.split(","):
        label, colon, rest = part.partition(":")
        if part.strip():
            parts.append((unquoted(label.strip()), rest) if colon else ("", part))
    return parts


def _sites(
    text: str, sets: Mapping[str, Sites], n_sites: int, command: Command, source: str
) -> Sites:
    chosen = np.zeros(n_sites, bool)
    for match in _RANGE.finditer(text):
        first, last, step = match.groups()
        word = unquoted(match.group())
        if first is None and word.isdigit():
            first = last = word
        if first is not None:
            begin, end = int(first), n_sites if last == "." else int(last)
            if not 1 <= begin <= end <= n_sites:
                raise InputError(
                    f"{source}, line {command.line}: sites {match.group()} are not within "
                    f"1-{n_sites}: correct them"
                )
            chosen[begin - 1 : end : int(step or 1)] = True
        elif word.lower() == "all":
            chosen[:] = True
        elif word in sets:
            chosen[sets[word]] = True
        elif word != ".":
            raise InputError(
                f'{source}, line {command.line}: "{word}" is no site and no charset'
                f"{nearest(word, sets)}: write 1-300"
            )
        else:
            chosen[-1] = True
    return np.flatnonzero(chosen)
