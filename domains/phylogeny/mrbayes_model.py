"""A substitution model and its priors in MrBayes's words.

    family          lset nst   JC69, F81: 1; K80, HKY85: 2; GTR: 6
    +I, +G4         lset rates equal, propinv, gamma or invgamma
    values given    prset ...=fixed(...)
    values open     the priors of `model_parameters`, which are MrBayes 3.2's own

F. Ronquist et al., "MrBayes 3.2" (2012), and its manual.
"""

from __future__ import annotations

from domains.phylogeny.model_strings import ModelSpecification, Values

_NST = {"JC69": 1, "F81": 1, "K80": 2, "HKY85": 2, "GTR": 6}
_RATES = {
    (False, False): "equal",
    (True, False): "propinv",
    (False, True): "gamma",
    (True, True): "invgamma",
}
# Our name: MrBayes's, and its prior where no value is given.
_PRIORS = {
    "kappa": ("tratiopr", "beta(1.0,1.0)"),
    "exchangeabilities": ("revmatpr", "dirichlet(1.0,1.0,1.0,1.0,1.0,1.0)"),
    "frequencies": ("statefreqpr", "dirichlet(1.0,1.0,1.0,1.0)"),
    "invariant": ("pinvarpr", "uniform(0.0,1.0)"),
    "shape": ("shapepr", "exponential(1.0)"),
}


def settings(
    specification: ModelSpecification, counted: Values, length_rate: float
) -> tuple[str, ...]:
    """The commands `lset` and `prset`.

    counted       frequencies of the alignment, used where the model asks for them
    length_rate   of the exponential prior of edge lengths
    """
    fixed = dict(specification.fixed)
    if specification.counted:
        fixed["frequencies"] = counted
    if "exchangeabilities" in fixed:
        fixed["exchangeabilities"] = (*fixed["exchangeabilities"][:5], 1.0)
    used = {*fixed, *specification.free}
    rates = _RATES["invariant" in used, "shape" in used]
    gamma = f" ngammacat={specification.n_categories}" if "shape" in used else ""
    priors = [
        f"{_PRIORS[name][0]}={_law(name, fixed.get(name))}" for name in _PRIORS if name in used
    ]
    return (
        f"lset nst={_NST[specification.family]} rates={rates}{gamma}",
        f"prset brlenspr=unconstrained:exp({length_rate!r}) topologypr=uniform {' '.join(priors)}",
    )


def _law(name: str, values: Values | None) -> str:
    if values is None:
        return _PRIORS[name][1]
    return f"fixed({','.join(f'{value:.10g}' for value in values)})"
