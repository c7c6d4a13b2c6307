"""Substitution models and their strings: generators, transition matrices, rate categories, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import gamma

from domains.phylogeny.model_strings import parse_model
from domains.phylogeny.models import gamma_rates, substitution_model
from domains.phylogeny.transitions import Transitions
from tests.domains.phylogeny.phylogeny_cases import MODELS
from workbench.errors import InputError


@pytest.mark.parametrize("text", MODELS)
def test_a_model_is_reversible_and_makes_one_substitution_per_site(text):
    model = parse_model(text).build()
    rates, pi = model.rate_matrix(), model.frequencies
    flux = pi[:, None] * rates
    assert torch.allclose(flux, flux.T, atol=1e-15)
    assert torch.allclose(rates.sum(-1), torch.zeros(4).double(), atol=1e-15)
    assert float(-(pi * rates.diagonal()).sum()) == pytest.approx(1.0, abs=1e-14)
    mean_rate = (model.category_rates * model.category_weights).sum()
    assert float(mean_rate) == pytest.approx(1.0, abs=1e-12)
    assert float(model.category_weights.sum() + model.invariant) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("text", MODELS)
def test_compiled_transitions_are_matrix_exponentials(text):
    model = parse_model(text).build()
    lengths = torch.tensor([0.0, 1e-12, 1e-6, 0.01, 0.3, 4.0, 50.0], dtype=torch.float64)
    known = Transitions(model)
    compiled = torch.from_numpy(known.matrices(lengths.numpy()[:, None]))[:, :, 0]
    expected = model.transition(lengths)
    if known.equal_rates:
        assert torch.allclose(compiled[..., 0], expected[..., 0, 0], atol=1e-14)
        assert torch.allclose(compiled[..., 1], expected[..., 0, 1], rtol=1e-9, atol=0)
    else:
        # Relative, so that small entries at short lengths count.
        assert torch.allclose(compiled.unflatten(-1, (4, 4)), expected, rtol=1e-9, atol=0)


def test_gamma_rates_are_the_means_of_equal_slices():
    shape, n = 0.37, 5
    edges = gamma.ppf(np.arange(n + 1) / n, shape, scale=1 / shape)
    expected = [
        n * quad(lambda x: x * gamma.pdf(x, shape, scale=1 / shape), a, b)[0]
        for a, b in itertools.pairwise(edges)
    ]
    rates = gamma_rates(torch.tensor(shape, dtype=torch.float64), n)
    assert rates.tolist() == pytest.approx(expected, rel=1e-6)


def test_gamma_rates_are_differentiable_in_the_shape():
    shape = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gamma_rates(shape, 4)[3], shape)
    h = 1e-4
    higher, lower = (gamma_rates(torch.tensor(0.6 + s, dtype=torch.float64), 4)[3] for s in (h, -h))
    assert float(slope) == pytest.approx(float(higher - lower) / (2 * h), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "family", "free", "counted"),
    [
        ("jc", "JC69", (), False),
        ("JC69", "JC69", (), False),
        ("K2P", "K80", ("kappa",), False),
        ("K80+F", "K80", ("kappa",), True),
        ("F81", "F81", (), True),
        ("HKY+FQ+G", "HKY85", ("kappa", "shape"), False),
        ("HKY+FO", "HKY85", ("kappa", "frequencies"), False),
        ("GTR+I+G4", "GTR", ("exchangeabilities", "invariant", "shape"), True),
        ("GTR{1,2,1,1,2,1}+F{.3,.2,.3,.2}+I{0.1}+G6{0.5}", "GTR", (), False),
    ],
)
def test_strings_say_what_is_free(text, family, free, counted):
    parsed = parse_model(text)
    assert (parsed.family, parsed.free, parsed.counted) == (family, free, counted)
    again = parse_model(parsed.text)
    assert (again.free, dict(again.fixed)) == (free, dict(parsed.fixed))
    values = parsed.starts((0.1, 0.2, 0.3, 0.4))
    assert set(values) == set(parsed.parameters)
    assert parsed.build(values).name == parsed.text


def test_a_sixth_rate_is_the_unit_of_the_others():
    five = parse_model("GTR{1.5,3,0.8,1.2,4}+FQ").build()
    six = parse_model("GTR{3,6,1.6,2.4,8,2}+FQ").build()
    assert torch.equal(five.rate_matrix(), six.rate_matrix())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("HKI", 'did you mean "HKY"'),
        ("JC+K4", "unknown term"),
        ("HKY+I+I{0.1}", "two terms for invariant"),
        ("HKY{a}", "list of numbers"),
        ("HKY{2", "NAME"),
        ("HKY{-1}", "must be positive"),
        ("HKY+F{0.5,0.5,0.5,0.5}", "sum to 2"),
        ("HKY+F{0.5,0.5}", "needs 4 numbers"),
        ("GTR{1,2,3}", "needs 5 or 6 numbers"),
        ("JC{2}", "takes no numbers"),
        ("JC+I{1}", "must be in [0, 1)"),
        ("JC+G0", "no rate category"),
        ("JC+G4{0.001}", "at least 0.01"),
    ],
)
def test_bad_strings_are_named(text, part):
    with pytest.raises(InputError) as raised:
        parse_model(text).build()
    assert part in str(raised.value)


def test_open_parameters_must_be_given():
    with pytest.raises(InputError, match="leaves kappa, frequencies open"):
        parse_model("HKY").build()


def test_bad_parameters_are_named():
    with pytest.raises(InputError, match="frequencies"):
        substitution_model(frequencies=[0.5, 0.5, 0.0, 0.0])
    with pytest.raises(InputError, match="exchangeabilities"):
        substitution_model(exchangeabilities=[1.0, 1.0])
