"""The command line `workbench`, and the contract of a pipeline module.

A pipeline is a module in `PIPELINES` that imports nothing heavy at the top and has

    Config               a frozen dataclass derived from `pipelines.options.CommonOptions`; every
                         field has a default, and the fields are the options
    preset(name, ...)    the `Config` of a preset ("smoke", "laptop", "paper"). Its further
                         parameters are fields that choose the table, as in
                         `preset(name, system="lj13", sampler=None)`: each is passed as a string
                         where the user gave it, by flag or by file, and left out otherwise
    run(config, out)     make the run folder `out`, do everything, return its path
    resume(path)         go on from the last good checkpoint, return the path
    sample(path, n)      draw n more samples into the run, return the file written
    DEMO                 one tuple of flags per run of `workbench demo`

A command of a domain beyond these stands in `COMMANDS`, as (domain, verb): a module with

    main(argv)           do what the arguments after the verb ask for; `pipelines.arguments.Parser`
                         reads them. It imports nothing heavy at the top either

Bad input raises InputError (one sentence, exit code 2). KeyboardInterrupt (130) leaves a run that
`resume` can finish.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.arguments import Parser
from workbench.errors import InputError, nearest

PIPELINES = {
    "boltzmann": "pipelines.boltzmann",
    "cells": "pipelines.cells",
    "crystals": "pipelines.crystals",
    "graphs": "pipelines.graphs",
    "phylogeny": "pipelines.phylogeny",
    "synthetic": "pipelines.synthetic",
}
COMMANDS = {
    ("cells", "simulate"): "pipelines.cells.simulate",
    ("graphs", "solve"): "pipelines.graphs.solve",
    ("phylogeny", "score"): "pipelines.phylogeny.score",
}

HELP = """usage: workbench COMMAND ...

  workbench PIPELINE run [options]      sample, evaluate and report (PIPELINE: {pipelines})
  workbench cells simulate ...          cells of a gene circuit with known answers, as an .h5ad
  workbench phylogeny score ...         log-likelihood and parsimony of given trees
  workbench graphs solve ...            a trained run applied to a user's graph
  workbench resume RUN                  go on from the last good checkpoint
  workbench sample RUN --n N            draw more from a trained sampler, with weights
  workbench report RUN...               rebuild a report; several runs give a comparison
  workbench data list|fetch|verify      the data sets: what there is, get one, check one
  workbench demo                        every pipeline at smoke size, then one index page
  workbench --version

`workbench PIPELINE run --help` lists the options of a pipeline. Most commands take --json.
Exit codes: 0; 2 for bad input; 130 when interrupted, with the run resumable.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; help and version included."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        _dispatch(arguments)
    except InputError as error:
        print(f"workbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"workbench: {stopped or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away: `workbench ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
    return 0


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _dispatch(argv: list[str]) -> None:
    commands = {
        "resume": _resume,
        "sample": _sample,
        "report": _report,
        "data": _data,
        "demo": _demo,
    }
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP.format(pipelines=" ".join(PIPELINES)), end="")
    elif argv[0] == "--version":
        from workbench.runs.provenance import PACKAGE, version

        print(f"workbench {version(PACKAGE) or '(not installed)'}")
    elif argv[0] in commands:
        commands[argv[0]](argv[1:])
    elif argv[0] in (domains := dict.fromkeys([*PIPELINES, *(domain for domain, _ in COMMANDS)])):
        _domain(argv[0], argv[1:])
    else:
        hint = nearest(argv[0], [*domains, *commands])
        raise InputError(f'unknown pipeline or command "{argv[0]}"{hint}: see workbench --help')


def _domain(name: str, argv: list[str]) -> None:
    """A verb of one domain: `run` where it has a pipeline, and those of `COMMANDS`."""
    verbs = ["run"] * (name in PIPELINES) + [verb for domain, verb in COMMANDS if domain == name]
    if not argv or argv[0] in ("-h", "--help"):
        for verb in verbs:
            print(f"usage: workbench {name} {verb} [options]   (--help lists them)")
    elif argv[0] not in verbs:
        hint = nearest(argv[0], verbs)
        known = " or ".join(f"workbench {name} {verb}" for verb in verbs)
        raise InputError(f'unknown verb "{argv[0]}"{hint}: use {known}')
    elif argv[0] == "run":
        _run(name, argv[1:])
    else:
        importlib.import_module(COMMANDS[name, argv[0]]).main(argv[1:])


def _module(pipeline: str) -> Any:
    if pipeline not in PIPELINES:
        raise InputError(f'unknown pipeline "{pipeline}"{nearest(pipeline, PIPELINES)}')
    return importlib.import_module(PIPELINES[pipeline])


def _run(pipeline: str, argv: Sequence[str]) -> None:
    from pipelines import flags, options

    module = _module(pipeline)
    invocation = flags.parse(module, pipeline, argv)
    if invocation.print_config:
        _print_config(pipeline, invocation)
        return
    out = invocation.out or options.default_out(pipeline, invocation.options)
    _show(_execute(module, invocation.options, out, invocation.json), invocation.json)


def _execute(module: Any, config: Any, out: Path, as_json: bool) -> Path:
    """Run a pipeline; an interruption that finds a run folder says how to go on."""
    from pipelines.console import results_only

    ours = not (out / "config.yaml").exists()
    try:
        with results_only(as_json):
            return Path(module.run(config, out))
    except KeyboardInterrupt as stopped:
        if ours and (out / "config.yaml").exists() and not str(stopped):
            message = f"interrupted; resume with: workbench resume {out}"
            raise KeyboardInterrupt(message) from stopped
        raise


def _print_config(pipeline: str, invocation: Any) -> None:
    from pipelines import console, options

    plain = {"pipeline": pipeline, **options.to_plain(invocation.options)}
    if invocation.json:
        console.print_json(plain)
        return
    import yaml

    print(yaml.safe_dump(plain, sort_keys=False), end="")


def _show(path: Path, as_json: bool) -> None:
    from pipelines import console

    if as_json:
        console.print_json(console.run_summary(path))
    else:
        console.print_run(path)


def _resume(argv: Sequence[str]) -> None:
    from pipelines.console import results_only
    from workbench.runs.folder import read_config

    parser = Parser("resume", "Go on with a run from its last good checkpoint.")
    parser.add_argument("run", type=Path, help="the run folder")
    arguments = parser.parse(argv)
    module = _module(read_config(arguments.run)[0])
    try:
        with results_only(arguments.json):
            path = Path(module.resume(arguments.run))
    except KeyboardInterrupt as stopped:
        message = str(stopped) or f"interrupted; resume with: workbench resume {arguments.run}"
        raise KeyboardInterrupt(message) from stopped
    _show(path, arguments.json)


def _sample(argv: Sequence[str]) -> None:
    from pipelines.console import print_json, results_only
    from workbench.runs.folder import read_config

    parser = Parser("sample", "Draw more from a trained sampler, with weights.")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--n", type=int, required=True, help="how many samples")
    arguments = parser.parse(argv)
    if arguments.n < 1:
        raise InputError(f"--n is {arguments.n}: give 1 or more")
    module = _module(read_config(arguments.run)[0])
    with results_only(arguments.json):
        path = module.sample(arguments.run, arguments.n)
    if arguments.json:
        print_json({"run": str(arguments.run), "n": arguments.n, "samples": str(path)})
    else:
        print(f"samples: {path}")


def _report(argv: Sequence[str]) -> None:
    from pipelines.console import print_json

    parser = Parser("report", "Rebuild the report of a run; several runs give a comparison.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, help="where a comparison goes (comparison.html)")
    arguments = parser.parse(argv)
    from workbench.runs import report

    if len(arguments.runs) == 1 and arguments.out is None:
        path = report.rebuild_report(arguments.runs[0])
    else:
        path = arguments.out or Path("comparison.html")
        report.comparison_report(arguments.runs, path)
    if arguments.json:
        print_json({"report": str(path)})
    else:
        print(f"report: {path}")


def _data(argv: Sequence[str]) -> None:
    from pipelines import data_command

    parser = Parser("data", "List the known data sets, fetch one into the cache, verify one.")
    parser.add_argument("verb", choices=["list", "fetch", "verify"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets; none = all (verify)")
    arguments = parser.parse(argv)
    data_command.run(arguments.verb, arguments.names, arguments.json)


def _demo(argv: Sequence[str]) -> None:
    from pipelines import flags, options
    from pipelines.console import print_json, print_run

    parser = Parser("demo", "Every pipeline at smoke size, then one index page.")
    default = Path("runs") / "demo" / f"{datetime.now():%Y%m%d-%H%M%S}"
    parser.add_argument("--out", type=Path, default=default, help="folder of the runs")
    arguments = parser.parse(argv)
    if arguments.out.exists() and any(arguments.out.iterdir()):
        raise InputError(f"{arguments.out} is not empty: name another folder with --out")
    runs = []
    for pipeline in PIPELINES:
        module = _module(pipeline)
        for chosen in module.DEMO:
            invocation = flags.parse(module, pipeline, ["--preset", "smoke", *chosen])
            out = options.default_out(pipeline, invocation.options, arguments.out)
            print(f"demo: {pipeline} {' '.join(chosen)} -> {out}", file=sys.stderr)
            runs.append(_execute(module, invocation.options, out, arguments.json))
            if not arguments.json:
                print_run(runs[-1])
    from workbench.runs import report

    index = report.write_index(arguments.out / "index.html", runs)
    if arguments.json:
        print_json({"index": str(index), "runs": [str(path) for path in runs]})
    else:
        print(f"index:  {index}")


if __name__ == "__main__":
    sys.exit(main())
