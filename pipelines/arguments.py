"""The arguments of the small commands: argparse, with its mistakes as InputError."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from workbench.errors import InputError, nearest


class Parser(argparse.ArgumentParser):
    """argparse for one command, its mistakes as InputError; `--json` for all of them."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"workbench {command}", description=description, allow_abbrev=False)
        self.add_argument("--json", action="store_true", help="print JSON alone")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        flags = [flag for action in self._actions for flag in action.option_strings]
        for token in argv:
            name = token.split("=", 1)[0]
            if name.startswith("--") and name not in flags:
                raise InputError(
                    f"unknown option {name}{nearest(name, flags)}: see {self.prog} --help"
                )
        return self.parse_intermixed_args(argv)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: see {self.prog} --help")
