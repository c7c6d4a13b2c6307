"""Model strings in IQ-TREE's syntax: `HKY{2.5}+F{0.3,0.2,0.25,0.25}+G4{0.5}`.

    JC, JC69       equal rates, equal frequencies
    K80, K2P       kappa = transition / transversion rate, equal frequencies
    F81            equal rates, frequencies
    HKY, HKY85     kappa, frequencies
    GTR            rates AC, AG, AT, CG, CT (relative to GT = 1; a sixth value may give GT), frequencies
    +F{A,C,G,T}    frequencies fixed;  +F  those counted in the alignment;  +FO  free;  +FQ  equal
    +I{share}      invariant sites;    +G4{shape}, +G{shape}  gamma rates, 4 categories unless said

Numbers in braces are fixed; a parameter without is free: an estimator may change it. As in IQ-TREE, F81,
HKY and GTR without a frequency term take the frequencies counted in the alignment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from domains.phylogeny.models import SubstitutionModel, substitution_model
from workbench.errors import InputError, nearest

Values = tuple[float, ...]
FREE_EXCHANGES: dict[str, Literal["none", "kappa", "all"]] = {
    "JC69": "none",
    "K80": "kappa",
    "F81": "none",
    "HKY85": "kappa",
    "GTR": "all",
}
ALIASES = {"JC": "JC69", "K2P": "K80", "HKY": "HKY85", **{name: name for name in FREE_EXCHANGES}}
EQUAL_FREQUENCIES = {"JC69", "K80"}
TERMS = ("+F", "+FO", "+FQ", "+I", "+G", "+G4")
# Where an estimator starts, and what is used where nothing is estimated.
STARTS: dict[str, Values] = {
    "kappa": (2.0,),
    "exchangeabilities": (1.0, 2.0, 1.0, 1.0, 2.0),
    "invariant": (0.1,),
    "shape": (1.0,),
}
# Tables such as 0.333, 0.333, 0.167, 0.167 are rounded; beyond this a sum is a mistake.
ROUNDED_SUM = 2e-3


@dataclass(frozen=True)
class ModelSpecification:
    """A parsed model string.

    text         normalised spelling
    family       JC69, K80, F81, HKY85 or GTR
    fixed        parameter -> values given in braces (or implied: equal frequencies)
    free         parameters without a value, of: kappa, exchangeabilities (5: relative to GT), frequencies,
                 invariant, shape
    counted      True: frequencies are those of the alignment (+F); they are then not among `free`
    n_categories gamma categories; 1 = none
    """

    text: str
    family: str
    fixed: Mapping[str, Values]
    free: tuple[str, ...]
    counted: bool
    n_categories: int

    @property
    def parameters(self) -> tuple[str, ...]:
        """Every parameter that `build` needs a value for, beyond the fixed ones."""
        return (*self.free, "frequencies") if self.counted else self.free

    def starts(self, counted_frequencies: Values) -> dict[str, Values]:
        """Values for `parameters`: a start for the free ones, the alignment's own frequencies."""
        known = {**STARTS, "frequencies": tuple(counted_frequencies)}
        return {name: known[name] for name in self.parameters}

    def build(self, values: Mapping[str, Values] | None = None) -> SubstitutionModel:
        """The model with `values` for its `parameters`. Raises `InputError` where one is missing."""
        given = dict(self.fixed) | dict(values or {})
        missing = [name for name in self.parameters if name not in given]
        if missing:
            raise InputError(
                f'model "{self.text}" leaves {", ".join(missing)} open: give values in braces, or '
                "estimate them"
            )
        kind = FREE_EXCHANGES[self.family]
        rates: Values = (1.0,) * 6
        if kind == "kappa":
            rates = tuple(given["kappa"][0] if n in (1, 4) else 1.0 for n in range(6))
        elif kind == "all":
            rates = (*given["exchangeabilities"], 1.0)
        return substitution_model(
            exchangeabilities=rates,
            frequencies=given["frequencies"],
            shape=given["shape"][0] if "shape" in given else None,
            n_categories=self.n_categories,
            invariant=given["invariant"][0] if "invariant" in given else 0.0,
            name=self.text,
        )


def parse_model(text: str) -> ModelSpecification:
    """Reads a model string. Raises `InputError` that names the bad token and the nearest valid one."""
    tokens = _tokens(text)
    family, fixed, free = _family(*tokens[0])
    seen: dict[str, str] = {}
    counted, n_categories = family not in EQUAL_FREQUENCIES, 1
    if not counted:
        fixed["frequencies"] = (0.25,) * 4
    for token, numbers in tokens[1:]:
        what = _term(token)
        if what in seen:
            raise InputError(f'model "{text}" has two terms for {what}: {seen[what]} and +{token}')
        seen[what] = f"+{token}"
        if what == "frequencies":
            fixed.pop(what, None)
            counted = token.upper() == "F" and numbers is None
            if token.upper() == "FQ":
                _none_expected(token, numbers)
                numbers = (0.25,) * 4
        if what == "shape":
            n_categories = int(token[1:] or 4)
        if numbers is not None:
            fixed[what] = _checked(what, numbers, text)
        elif not (what == "frequencies" and counted):
            free.append(what)
    normalised = _normalised(family, tokens)
    return ModelSpecification(normalised, family, fixed, tuple(free), counted, n_categories)


def _tokens(text: str) -> list[tuple[str, Values | None]]:
    """`HKY{2.5}+G4` -> [("HKY", (2.5,)), ("G4", None)]."""
    tokens: list[tuple[str, Values | None]] = []
    for part in text.strip().split("+"):
        match = re.fullmatch(r"([A-Za-z0-9]+)(?:\{([^{}]*)\})?", part.strip())
        if match is None:
            raise InputError(
                f'"{part}" in model "{text}" is not NAME or NAME{{number,...}}, as in HKY{{2.5}}+G4{{0.5}}'
            )
        word, braces = match.groups()
        if braces is None:
            tokens.append((word, None))
            continue
        try:
            tokens.append((word, tuple(float(number) for number in re.split("[,/]", braces))))
        except ValueError:
            raise InputError(
                f'"{braces}" in model "{text}" is not a list of numbers separated by commas'
            ) from None
    return tokens


def _family(word: str, numbers: Values | None) -> tuple[str, dict[str, Values], list[str]]:
    family = ALIASES.get(word.upper())
    if family is None:
        raise InputError(
            f'unknown substitution model "{word}"{nearest(word.upper(), ALIASES)}: '
            f"known are {', '.join(ALIASES)}"
        )
    kind = FREE_EXCHANGES[family]
    if kind == "none":
        _none_expected(word, numbers)
        return family, {}, []
    name = "kappa" if kind == "kappa" else "exchangeabilities"
    if numbers is None:
        return family, {}, [name]
    return family, {name: _checked(name, numbers, word)}, []


def _term(token: str) -> str:
    """The parameter that a term after the first `+` is about."""
    upper = token.upper()
    if upper in ("F", "FO", "FQ"):
        return "frequencies"
    if upper == "I":
        return "invariant"
    if re.fullmatch(r"G\d*", upper):
        if upper == "G0":
            raise InputError('"+G0" asks for no rate category: +G4 has four')
        return "shape"
    raise InputError(f'unknown term "+{token}"{nearest("+" + upper, TERMS)}: known are {TERMS}')


def _none_expected(token: str, numbers: Values | None) -> None:
    if numbers is not None:
        raise InputError(f'"{token}" takes no numbers, but {list(numbers)} were given')


def _checked(what: str, numbers: Values, text: str) -> Values:
    """The numbers of one parameter, in the form that `build` takes."""
    expected = {"exchangeabilities": (5, 6), "frequencies": (4,)}.get(what, (1,))
    if len(numbers) not in expected:
        wanted = " or ".join(str(n) for n in expected)
        raise InputError(f'{what} in "{text}" needs {wanted} numbers, not {len(numbers)}')
    if what == "invariant":
        if not 0.0 <= numbers[0] < 1.0:
            raise InputError(f"the share of invariant sites must be in [0, 1), not {numbers[0]}")
    elif not all(0.0 < number < float("inf") for number in numbers):
        raise InputError(f'{what} in "{text}" must be positive, not {list(numbers)}')
    if what == "frequencies":
        total = sum(numbers)
        if abs(total - 1.0) > ROUNDED_SUM:
            raise InputError(f'frequencies in "{text}" sum to {total:g}: they must sum to 1')
        return tuple(number / total for number in numbers)
    if what == "exchangeabilities":
        last = numbers[5] if len(numbers) == 6 else 1.0
        return tuple(number / last for number in numbers[:5])
    return numbers


def _normalised(family: str, tokens: list[tuple[str, Values | None]]) -> str:
    words = [family] + ["G4" if t.upper() == "G" else t.upper() for t, _ in tokens[1:]]
    braces = [
        "" if numbers is None else "{" + ",".join(f"{n:.15g}" for n in numbers) + "}"
        for _, numbers in tokens
    ]
    return "+".join(word + brace for word, brace in zip(words, braces, strict=True))
