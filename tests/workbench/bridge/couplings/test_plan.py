"""Plans on disk, drawn from, chained and interpolated."""

from __future__ import annotations

import pytest
import torch

from workbench.bridge.couplings.chain import sample_chain
from workbench.bridge.couplings.exact import exact_plan
from workbench.bridge.couplings.independent import independent_plan
from workbench.bridge.couplings.plan import Plan, load_plan, save_plan
from workbench.bridge.couplings.unbalanced import unbalanced_plan
from workbench.bridge.interpolate import midpoint
from workbench.errors import InputError


def _plan(source, target, mass, n_source, n_target) -> Plan:
    mass = torch.tensor(mass, dtype=torch.float64)
    pairs = torch.tensor(source), torch.tensor(target), mass
    return Plan(*pairs, n_source, n_target, "by hand", 0.0, 0.0, 0.0, True, 0)


def test_a_stored_plan_comes_back(tmp_path, generator):
    x = torch.randn(30, 2, generator=generator)
    for plan in (
        exact_plan(x, x + 1),
        unbalanced_plan(x, x + 1, torch.ones(30), torch.ones(30), 3.0),
    ):
        save_plan(tmp_path / "plan.npz", plan)
        back = load_plan(tmp_path / "plan.npz")
        for name, value in vars(plan).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(back, name), value)
            else:
                assert getattr(back, name) == value
    assert [path.name for path in tmp_path.iterdir()] == ["plan.npz"]


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.npz").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"plan\.npz"):
        load_plan(tmp_path / "plan.npz")


def test_draws_follow_the_masses(generator):
    plan = _plan([0, 0, 1, 2], [1, 0, 1, 0], [0.1, 0.4, 0.2, 0.3], 3, 2)
    source, target = plan.sample(40_000, generator)
    counts = (
        torch.zeros(3, 2).index_put_((source, target), torch.ones(40_000), accumulate=True) / 40_000
    )
    wanted = torch.from_numpy(plan.sparse().toarray()).float()
    error = (wanted * (1 - wanted) / 40_000).sqrt()
    assert bool(((counts - wanted).abs() <= 5 * error + 1e-9).all())


def test_chains_have_the_pair_laws_of_their_plans(generator):
    first = _plan([0, 0, 1], [0, 1, 1], [0.2, 0.3, 0.5], 2, 2)
    second = _plan([1, 0, 1], [2, 0, 1], [0.3, 0.2, 0.5], 2, 3)
    chain = sample_chain([first, second], 40_000, generator)
    for k, plan in enumerate((first, second)):
        wanted = torch.from_numpy(plan.sparse().toarray()).float()
        ones = torch.ones(40_000)
        counts = torch.zeros(wanted.shape).index_put_(
            (chain[:, k], chain[:, k + 1]), ones, accumulate=True
        )
        error = (wanted * (1 - wanted) / 40_000).sqrt()
        assert bool(((counts / 40_000 - wanted).abs() <= 5 * error + 1e-9).all())
    # Markov: given the middle cell 1, the last does not depend on the first.
    through = chain[chain[:, 1] == 1]
    share = [(through[through[:, 0] == i, 2] == 2).float().mean().item() for i in (0, 1)]
    assert share == pytest.approx([0.375, 0.375], abs=5 * 0.5 / 110)


def test_plans_of_other_snapshots_do_not_chain(generator):
    with pytest.raises(InputError, match="neighbouring"):
        sample_chain([_plan([0], [0], [1.0], 1, 2), _plan([0], [0], [1.0], 1, 1)], 3, generator)


def test_independent_pairs_meet_every_cell_as_its_weight_says(generator):
    x0, x1 = torch.randn(20, 2, generator=generator), torch.randn(30, 2, generator=generator)
    weights = torch.arange(1.0, 21.0)
    plan = independent_plan(x0, x1, weights, generator=generator)
    met = torch.bincount(plan.source, minlength=20) / len(plan.source)
    assert float((met - weights / weights.sum()).abs().max()) <= 1.0 / len(plan.source)
    assert (
        float(torch.corrcoef(torch.stack([plan.source, plan.target]).float())[0, 1].abs())
        < 5 / 480**0.5
    )


def test_midpoint_lies_where_it_should(generator):
    x0 = torch.randn(200, 2, generator=generator)
    shift = torch.tensor([4.0, -2.0])
    plan = exact_plan(x0, x0 + shift)
    cells = midpoint(plan, x0, x0 + shift, 0.25, 500, generator)
    nearest = torch.cdist(cells.double(), (x0 + 0.25 * shift).double()).amin(1)
    assert float(nearest.max()) < 1e-5
    with pytest.raises(InputError, match="fraction"):
        midpoint(plan, x0, x0, 1.5, 10, generator)
