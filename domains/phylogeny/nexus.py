"""NEXUS files as blocks of commands, each with the line it starts on.

    #NEXUS
    BEGIN name; command ...; command ...; END;

Comments stand in brackets and may be nested; names may stand in single quotes, a quote inside doubled
(D. R. Maddison, D. L. Swofford, W. P. Maddison, "NEXUS: an extensible file format for systematic
information", Syst. Biol. 46, 590 (1997)). Comments that begin with & carry data (rooting, weights,
supports) and stay in the text of the commands; all others are dropped, their line ends kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import InputError

# A quoted name ends at a quote that is not doubled; it does not span lines.
_PIECES = re.compile(r"'(?:[^'\n]|'')*'|[\[\]]")
_ENDS = re.compile(r"'(?:[^'\n]|'')*'|\[&[^\]]*\]|;")
_WORD = re.compile(r"'(?:[^'\n]|'')*'|\[&[^\]]*\]|[^\s=,;'\[\]]+|[=,]")


@dataclass(frozen=True)
class Command:
    """One command: its name in lower case, the text after it up to the semicolon, and its line."""

    name: str
    text: str
    line: int

    def words(self) -> list[str]:
        """The text as words and the signs = and comma; quotes are still there."""
        return _WORD.findall(self.text)

    def options(self) -> dict[str, str]:
        """`key=value` pairs and bare keys (as "yes"), keys in lower case."""
        found: dict[str, str] = {}
        words = self.words()
        for i, word in enumerate(words):
            if word == "=" and 0 < i < len(words) - 1:
                found[words[i - 1].lower()] = unquoted(words[i + 1]).strip('"')
            elif word != "=" and (i == 0 or words[i - 1] != "="):
                found.setdefault(word.lower(), "yes")
        return found


@dataclass(frozen=True)
class Block:
    """A block: its name in lower case, its commands, and the line of its BEGIN."""

    name: str
    commands: tuple[Command, ...]
    line: int

    def find(self, name: str) -> Command | None:
        """The first command of that name."""
        return next((command for command in self.commands if command.name == name), None)


def is_nexus(text: str) -> bool:
    return text.lstrip()[:6].lower() == "#nexus"


def unquoted(word: str) -> str:
    """A name without its quotes."""
    return word[1:-1].replace("''", "'") if word[:1] == "'" and len(word) > 1 else word


def quoted(name: str) -> str:
    """A name as it may stand in NEXUS and Newick: quoted where it holds blanks or punctuation."""
    if re.fullmatch(r"[^\s()\[\]{}/\\,;:=*'\"`+<>]+", name):
        return name
    return "'" + name.replace("'", "''") + "'"


def read_blocks(text: str, source: str) -> list[Block]:
    """The blocks of a file named `source` in messages.

    Raises InputError with the line number for an open comment, quote, block or command, and for text
    outside of blocks.
    """
    text = without_comments(text, source)
    header = re.match(r"\s*#nexus", text, re.IGNORECASE)
    if header is None:
        raise InputError(f'{source} does not begin with "#NEXUS": check the file')
    blocks: list[Block] = []
    inside: list[Command] = []
    opened: Command | None = None
    for command in _commands(text, header.end(), source):
        if command.name == "begin":
            if opened is not None:
                raise InputError(
                    f"{source}, line {command.line}: BEGIN inside the block of line {opened.line}: "
                    "close that with END;"
                )
            opened, inside = command, []
        elif command.name in ("end", "endblock") and opened is not None:
            blocks.append(Block(_block_name(opened, source), tuple(inside), opened.line))
            opened = None
        elif opened is None:
            raise InputError(
                f'{source}, line {command.line}: "{command.name}" outside of a block: blocks are '
                "BEGIN name; ... END;"
            )
        else:
            inside.append(command)
    if opened is not None:
        raise InputError(f"{source}, line {opened.line}: this block is not closed: add END;")
    return blocks


def _block_name(begin: Command, source: str) -> str:
    words = begin.words()
    if not words:
        raise InputError(f"{source}, line {begin.line}: BEGIN without a name: write BEGIN DATA;")
    return unquoted(words[0]).lower()


def without_comments(text: str, source: str) -> str:
    """The text with plain comments replaced by blanks, so that every position keeps its line; comments
    that begin with & stay. Raises InputError with the line of a bracket that has no partner."""
    pieces: list[str] = []
    depth, kept_from, opened_at = 0, 0, 0
    for found in _PIECES.finditer(text):
        sign, at = found.group(), found.start()
        if sign == "[" and depth == 0:
            depth, opened_at = 1, at
            pieces.append(text[kept_from:at])
        elif sign == "[":
            depth += 1
        elif sign == "]" and depth == 0:
            raise InputError(f"{source}, line {_line(text, at)}: ] without [: check the comments")
        elif sign == "]":
            depth -= 1
            if depth == 0:
                comment = text[opened_at : at + 1]
                keep = comment.startswith("[&")
                pieces.append(comment if keep else re.sub(r"[^\n]", " ", comment))
                kept_from = at + 1
    if depth != 0:
        raise InputError(
            f"{source}, line {_line(text, opened_at)}: this comment lacks its ]: add it"
        )
    return "".join((*pieces, text[kept_from:]))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _commands(text: str, start: int, source: str) -> Iterator[Command]:
    """What stands between semicolons."""
    line, counted, begun = 1, 0, start
    for found in _ENDS.finditer(text, start):
        if found.group() != ";":
            continue
        end = found.start()
        first = begun + len(text[begun:end]) - len(text[begun:end].lstrip())
        line, counted = line + text.count("\n", counted, first), first
        yield _command(text[first:end], line, source)
        begun = end + 1
    rest = text[begun:].strip()
    if rest:
        where = _line(text, text.index(rest, begun))
        raise InputError(f'{source}, line {where}: "{rest.split()[0]}" lacks its semicolon: add it')


def _command(body: str, line: int, source: str) -> Command:
    match = re.match(r"[^\s=,'\[\]]+", body)
    if match is None:
        raise InputError(f"{source}, line {line}: a command without a name: check the semicolons")
    return Command(match.group().lower(), body[match.end() :], line)
