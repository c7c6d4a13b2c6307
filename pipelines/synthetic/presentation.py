"""The report: what was sampled, how, the figures, and what a reader should look at."""

from __future__ import annotations

import torch

from domains.synthetic.figures import grid_laws, log_law
from domains.synthetic.hypergrid import Hypergrid
from pipelines.synthetic.evaluation import Comparison, sample_law
from pipelines.synthetic.training import Curves
from workbench.gflownet import evaluation
from workbench.metrics import figures as draw
from workbench.metrics.figures import Curve
from workbench.runs.folder import RunFolder
from workbench.runs.plotting import save
from workbench.runs.report import FigureFile, Section, Table
from workbench.runs.verdicts import format_value


def sections(c: Comparison, seen: Curves, folder: RunFolder) -> list[Section]:
    """What the report shows under the table of figures, with the pictures written to the folder."""
    result = [
        Section("What was sampled", _description(c)),
        Section("How", _how(c)),
        Section("Beside other ways", table=_table(c)),
        Section("Quality against cost", figures=_quality(c, seen, folder)),
        Section("The law", figures=_laws(c, folder)),
    ]
    return [section for section in result if section.lines or section.figures or section.table]


def _description(c: Comparison) -> list[str]:
    lines = list(c.problem.synthetic.description)
    if c.problem.beta != 1.0:
        lines.append(
            f"The target is R to the power {c.problem.beta:g}; its log Z is "
            f"{format_value(c.problem.log_partition)}."
        )
    return lines


def _how(c: Comparison) -> list[str]:
    config = c.config
    size = f"perceptron of {config.network.layers} x {config.network.width}"
    network = "a table of all states" if config.network.tabular else size
    lines = [
        f"Objective {config.objective}, backward policy {config.backward}, {network}; "
        f"{config.steps:,} gradient steps on {config.batch} fresh trajectories each.",
        f"Exploration: epsilon {config.exploration.epsilon:g}, temperature "
        f"{config.exploration.temperature:g}; ensemble of {config.ensemble.heads}; replay "
        f"{config.replay.kind}; local search of {config.local_search.rounds} rounds.",
        "Samples and figures are those of the averaged weights, without exploration; replayed objects "
        "and local search serve training alone.",
    ]
    if config.objective == "mellowmax" and config.settings.q > 0:
        lines.append(
            "The optimum of mellowmax with q > 0 is not the law of the reward: its distance from R / Z is "
            "shown, and is not an error of the training."
        )
    if c.baseline is not None:
        lines.append(f"Baseline: {c.baseline.line}")
    return lines


def _table(c: Comparison) -> Table:
    """The sampler, true samples, Metropolis chains and uniform objects in one view."""
    n = len(c.objects.log_reward)
    environment, target = c.problem.synthetic, c.problem.target
    random = environment.uniform_objects(n, c.generator)
    found = evaluation.modes_found(environment.mode(random), environment.n_modes)
    uniform_tv = floor = ours = sampled = "-"
    if target is not None and c.problem.graph is not None and c.law is not None:
        flat = c.problem.graph.terminal.double()
        uniform_tv = format_value(evaluation.total_variation(flat / flat.sum(), target))
        floor = format_value(evaluation.total_variation_floor(target, n))
        ours = format_value(evaluation.total_variation(c.law.probabilities, target))
        sampled = format_value(evaluation.total_variation(sample_law(c), target))
    own = evaluation.modes_found(environment.mode(c.objects.state), environment.n_modes)
    mean = format_value(float(c.objects.log_reward.mean()))
    rows = [
        ["the learned law, exactly", ours, "-", "-"],
        [f"its {n:,} samples", sampled, str(own), mean],
        [f"{n:,} true samples, on average", floor, "-", "-"],
    ]
    base = c.baseline
    if base is not None:
        law = base.law
        theirs = "-"
        if law is not None and target is not None:
            theirs = format_value(evaluation.total_variation(law, target))
        name = f"Metropolis chains, {base.n_rewards:,} rewards"
        rows.append([name, theirs, str(base.modes_found), format_value(base.mean_log_reward)])
    mean = format_value(float(environment.log_reward(random).mean()))
    rows.append([f"uniform objects ({n:,})", uniform_tv, str(found), mean])
    return Table(["", "total variation", f"modes of {environment.n_modes}", "mean log R"], rows)


def _quality(c: Comparison, seen: Curves, folder: RunFolder) -> list[FigureFile]:
    if not seen.n_trajectories:
        return []
    files = []
    trajectories = torch.tensor(seen.n_trajectories).double()
    seconds = torch.tensor(seen.cpu_seconds).double()
    if c.problem.target is not None:
        distance = torch.tensor(seen.total_variation).double()
        floor = evaluation.total_variation_floor(c.problem.target, len(c.objects.log_reward))
        lines = {"GFlowNet, exact": Curve(trajectories, distance)}
        base = c.baseline
        if base is not None and base.evaluations:
            evaluations = torch.tensor(base.evaluations).double()
            chains = torch.tensor(base.total_variation).double()
            lines["Metropolis, what it has seen"] = Curve(evaluations, chains)
        figure = draw.curves(
            lines,
            xlabel="trajectories or reward evaluations",
            ylabel="total variation",
            floor=floor,
            log_x=True,
            log_y=True,
        )
        text = "Distance from R / Z against reward evaluations; the floor is that of the samples drawn."
        files.append(_save(folder, figure, "total_variation", text))
        figure = draw.curves(
            {"GFlowNet, exact": Curve(seconds, distance)},
            xlabel="CPU seconds of training",
            ylabel="total variation",
            log_y=True,
        )
        text = "The same against processor time; looks at the law are not counted."
        files.append(_save(folder, figure, "total_variation_seconds", text))
    if c.problem.log_partition is not None:
        error = torch.tensor(seen.log_partition_error).double()
        figure = draw.curves(
            {"log Z": Curve(trajectories, error)},
            xlabel="trajectories",
            ylabel="error of log Z",
            log_x=True,
            log_y=True,
        )
        text = "Distance of the learned log Z from the exact one."
        files.append(_save(folder, figure, "log_partition", text))
    return files


def _laws(c: Comparison, folder: RunFolder) -> list[FigureFile]:
    files = []
    environment, graph = c.problem.synthetic, c.problem.graph
    planar = isinstance(environment, Hypergrid) and environment.dimensions >= 2
    if planar and graph is not None and c.law is not None and c.problem.target is not None:
        assert isinstance(environment, Hypergrid)
        at = graph.terminal
        laws = {"true": c.problem.target[at], "learned": c.law.probabilities[at]}
        text = "The laws over the first two coordinates, summed over the others."
        files.append(_save(folder, grid_laws(environment, laws), "law", text))
    figure = log_law(*c.points, c.problem.log_partition)
    kind = "exact" if c.law is not None else "by importance over backward trajectories"
    text = f"log p ({kind}) against log R of objects; on the line, the law is right."
    return [*files, _save(folder, figure, "log_p", text)]


def _save(folder: RunFolder, figure: object, name: str, caption: str) -> FigureFile:
    path = save(figure, folder.figures, name)  # type: ignore[arg-type]
    return FigureFile(path.relative_to(folder.path), caption)
