"""Which plan each method gets, in which units, and the store of solved plans."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from workbench.bridge.couplings.solve import solve_plans
from workbench.bridge.frame import frame_of
from workbench.bridge.options import BridgeConfig, CouplingConfig, UnbalancedConfig
from workbench.errors import InputError


def _snapshots(generator):
    times = torch.tensor([0.0, 1.0, 4.0])
    return [torch.randn(40, 2, generator=generator) + k for k in range(3)], times


@pytest.mark.parametrize(
    ("method", "kind"),
    [("icfm", "independent"), ("otcfm", "exact"), ("spline", "exact"), ("sf2m", "entropic")],
)
def test_methods_have_their_plans(generator, method, kind):
    cells, times = _snapshots(generator)
    plans = solve_plans(BridgeConfig(method=method, sigma=1.0), cells, times, generator)
    assert [plan.method for plan in plans] == [kind, kind]


def test_epsilon_is_that_of_the_bridge_over_the_real_interval(generator):
    cells, times = _snapshots(generator)
    frame = frame_of(cells, times)
    plans = solve_plans(BridgeConfig(method="sf2m", sigma=0.5), cells, times, generator)
    rate = 0.5**2 * frame.length**2 / frame.interval  # sigma^2 in squared data unit per time unit
    assert [plan.epsilon for plan in plans] == pytest.approx([2 * rate * 1.0, 2 * rate * 3.0])


def test_large_snapshots_go_in_blocks(generator):
    cells, times = _snapshots(generator)
    coupling = CouplingConfig(exact_limit=30, block=20)
    plans = solve_plans(BridgeConfig(coupling=coupling), cells, times, generator)
    assert all("blocks of 20" in plan.method for plan in plans)


def test_solved_once_and_read_again(generator, tmp_path, monkeypatch):
    cells, times = _snapshots(generator)
    config = BridgeConfig()
    first = solve_plans(config, cells, times, generator, cache=tmp_path)
    monkeypatch.setattr("workbench.bridge.couplings.solve._solve", None)
    again = solve_plans(config, cells, times, generator, cache=tmp_path)
    assert torch.equal(first[1].target, again[1].target)
    with pytest.raises(TypeError):  # another snapshot is another plan
        solve_plans(config, [cells[0] + 1e-3, *cells[1:]], times, generator, cache=tmp_path)


def test_masses_are_given_counted_or_balanced(generator):
    cells, times = _snapshots(generator)
    cells[1] = cells[1][:20]

    def totals(source, masses=None):
        unbalanced = UnbalancedConfig(mass_source=source)
        config = BridgeConfig(method="unbalanced", unbalanced=unbalanced)
        plans = solve_plans(config, cells, times, generator, masses=masses)
        return [float(plan.target_mass.sum()) for plan in plans], config

    assert totals("balanced")[0] == pytest.approx([1.0, 1.0])
    assert totals("given", [2.0, 3.0, 5.0])[0] == pytest.approx([1.5, 2.5])
    found, config = totals("counts")
    assert found == pytest.approx([0.5, 1.0])
    assert "not identifiable" in str(config.unbalanced.label())
    with pytest.raises(InputError, match="positive total mass"):
        totals("given")
    with pytest.raises(InputError, match="of no use"):
        totals("balanced", [1.0, 1.0, 1.0])
    with pytest.raises(InputError, match="of no use"):
        solve_plans(
            dataclasses.replace(config, method="otcfm"), cells, times, generator, masses=[1, 1, 1]
        )
