"""The command line: precedence, one-sentence errors, exit codes, JSON, speed of the help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines import cli, flags, options
from tests.pipelines import toy
from workbench.errors import InputError


@pytest.fixture(autouse=True)
def with_toy(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "PIPELINES", {"toy": "tests.pipelines.toy"})
    monkeypatch.chdir(tmp_path)


def parse(*argv):
    return flags.parse(toy, "toy", argv).options


def write(tmp_path: Path, **values) -> str:
    path = tmp_path / "options.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_presets_depend_on_what_is_sampled():
    assert parse().n_steps == 20
    assert parse("--preset", "smoke").n_steps == 2
    assert parse("--preset=smoke", "--system", "die").n_steps == 20
    assert parse("--preset", "smoke").preset == "smoke"


def test_preset_then_file_then_flags(tmp_path):
    file = write(tmp_path, system="die", seed=3, mala={"rate": 0.5}, n_steps=7, elements=["A"])
    config = parse("--config", file)
    assert (config.system, config.seed, config.n_steps) == ("die", 3, 7)
    assert config.mala == toy.Sampler(rate=0.5) and config.elements == ("A",)
    config = parse("--config", file, "--seed", "4", "--mala.n-samples", "9", "--mala.no-clip")
    assert (config.seed, config.n_steps) == (4, 7)
    assert config.mala == toy.Sampler(rate=0.5, n_samples=9, clip=False)
    assert parse("--config", write(tmp_path, preset="smoke", system="die")).n_steps == 20
    file = write(tmp_path, preset="smoke", system="die")
    assert parse("--config", file, "--system", "coin").n_steps == 2
    assert parse("--config", file, "--preset", "paper").n_steps == 2000


def test_lists_paths_and_tuples_as_flags():
    config = parse("--elements", "Sr", "Ti", "O", "--box", "3", "-4.5", "--pdb", "x.pdb", "--fast")
    assert config.elements == ("Sr", "Ti", "O") and config.box == (3.0, -4.5)
    assert config.pdb == Path("x.pdb") and config.fast is True


def test_a_printed_config_gives_the_same_run(tmp_path, capsys):
    argv = ["toy", "run", "--system", "die", "--pdb", "x", "--mala.scale", "2", "--print-config"]
    assert cli.main(argv) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert parse("--config", "printed.yaml") == parse(*argv[2:-1])
    assert cli.main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mala"]["scale"] == 2.0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, r'unknown option "sed" \(did you mean "seed"\?\)'),
        ({"mala": {"rat": 1}}, r'unknown option "mala.rat" \(did you mean "rate"\?\)'),
        ({"seed": "one"}, "option seed is 'one', which is not of type int"),
        ({"seed": 1.5}, "option seed is 1.5"),
        ({"seed": True}, "option seed is True"),
        ({"fast": "yes"}, "option fast is 'yes', which is not of type bool"),
        ({"device": "cudo"}, r'option device is "cudo" \(did you mean "cuda"\?\)'),
        ({"box": [1]}, "option box takes 2 values"),
        ({"mala": 3}, "option mala is 3, which is not of type Sampler"),
        ({"mala": {"scale": [1]}}, r"option mala.scale is \[1\]"),
        ({"threads": 0}, "--threads is 0: give 1 or more"),
        ({"pipeline": "boltzmann"}, "is for `workbench boltzmann run`"),
        ({"preset": "smok"}, r'unknown preset "smok" \(did you mean "smoke"\?\)'),
    ],
)
def test_mistakes_in_a_file(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        parse("--config", write(tmp_path, **values))


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot read --config"):
        parse("--config", "absent.yaml")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(InputError, match="is not YAML"):
        parse("--config", "x.yaml")
    (tmp_path / "x.yaml").write_text("- a")
    with pytest.raises(InputError, match="holds no options"):
        parse("--config", "x.yaml")
    (tmp_path / "x.yaml").write_text("mala: {rate: 1e-3, scale: null}")
    assert parse("--config", "x.yaml").mala.rate == 1e-3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["toy", "run", "--sede", "3"], 'unknown option --sede (did you mean "--seed"?)'),
        (["toy", "run", "--mala.n_sample", "3"], 'did you mean "--mala.n-samples"?'),
        (["toy", "run", "--seed", "abc"], "--seed: invalid literal for int()"),
        (["toy", "run", "--device", "tpu"], "invalid choice 'tpu' for argument '--device'"),
        (["toy", "run", "--box", "1"], "Expected 2 values"),
        (["toy", "run", "stray"], "Unrecognized options: stray"),
        (["toy", "run", "--threads", "0"], "--threads is 0: give 1 or more"),
        (["toy", "run", "--seed", "-1"], "--seed is -1: give 0 or more"),
        (["toy", "run", "--preset", "smock"], 'unknown preset "smock" (did you mean "smoke"?)'),
        (["toy", "run", "--system", "broken"], "the system is broken: mend it"),
        (["toy", "rum"], 'unknown verb "rum" (did you mean "run"?)'),
        (["tay", "run"], 'unknown pipeline or command "tay" (did you mean "toy"?)'),
        (["resum", "x"], 'did you mean "resume"?'),
        (["resume"], "the following arguments are required: run"),
        (["resume", "nowhere"], "nowhere holds no run"),
        (["sample", "x", "--m", "3"], 'unknown option --m (did you mean "--n"?)'),
        (["sample", "x", "--n", "0"], "--n is 0: give 1 or more"),
        (["report", "nowhere"], "nowhere holds no run"),
        (["data", "fetch"], "needs the name of a data set"),
        (["data", "fetch", "lj13-ref"], 'did you mean "lj13-reference"?'),
        (["data", "get"], "invalid choice: 'get'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(argv, message, capsys):
    assert cli.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("workbench: ") and said.err.count("\n") == 1
    assert message in said.err


def test_a_run_is_made_resumed_sampled_and_reported(tmp_path, capsys):
    assert cli.main(["toy", "run", "--preset", "smoke", "--out", "a"]) == 0
    said = capsys.readouterr().out
    assert "n_steps" in said and "  bad: value was nan" in said and "report: a/report.html" in said
    assert yaml.safe_load(Path("a/config.yaml").read_text())["preset"] == "smoke"

    assert cli.main(["toy", "run", "--out", "a"]) == 2
    assert "workbench resume a" in capsys.readouterr().err
    assert cli.main(["resume", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["n_steps"]["value"] == 2
    assert cli.main(["sample", "a", "--n", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == "a/more.txt"
    Path("a/report.html").unlink()
    assert cli.main(["report", "a"]) == 0
    assert Path("a/report.html").exists()
    assert cli.main(["toy", "run", "--out", "b"]) == 0
    assert cli.main(["report", "a", "b", "--out", "both.html"]) == 0
    assert Path("both.html").exists()


def test_json_is_alone_on_standard_output(capsys):
    assert cli.main(["toy", "run", "--json", "--out", "a"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["schema_version"] == 1 and record["run"] == "a"
    assert record["metrics"]["bad"] == {
        **dict.fromkeys(["value", "stderr", "n", "floor", "baseline", "reference", "unit"]),
        "why": "value was nan",
    }
    assert "chatter" in said.err


def test_the_default_folder_is_named_after_the_run(tmp_path, capsys):
    assert cli.main(["toy", "run", "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["run"])
    assert path.parent == Path("runs") and path.name.startswith("toy-coin-20")
    config = toy.Config(system="die")
    first = options.default_out("toy", config)
    first.mkdir(parents=True)
    assert options.default_out("toy", config) != first


def test_an_interruption_says_how_to_go_on(capsys):
    assert cli.main(["toy", "run", "--system", "endless", "--out", "a"]) == 130
    assert "resume with: workbench resume a" in capsys.readouterr().err
    assert cli.main(["toy", "run", "--system", "endless", "--out", "a"]) == 2


def test_a_termination_is_an_interruption(monkeypatch, capsys):
    def stop(config, out):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(toy, "run", stop)
    assert cli.main(["toy", "run"]) == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_demo_runs_every_pipeline_and_writes_an_index(capsys):
    assert cli.main(["demo", "--out", "d", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["runs"]) == 2
    index = Path(record["index"]).read_text()
    for run in record["runs"]:
        assert f"{Path(run).name}/report.html" in index
    assert cli.main(["demo", "--out", "d"]) == 2


def test_data_sets_are_listed(capsys):
    assert cli.main(["data", "list"]) == 0
    assert "lj13-reference" in capsys.readouterr().out
    assert cli.main(["data", "list", "--json", "dw4-reference"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["data"]
    assert record["licence"] == "MIT" and record["files"][0]["size"] == 320128


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["toy"], ["toy", "run", "--help"], ["demo", "-h"]]
)
def test_help_is_not_an_error(argv, capsys):
    assert cli.main(argv) == 0
    assert "workbench" in capsys.readouterr().out


def test_every_option_is_in_the_help(capsys):
    cli.main(["toy", "run", "--help"])
    said = capsys.readouterr().out
    for flag in ("--seed", "--threads", "--mala.n-samples", "--print-config", "--json", "--out"):
        assert flag in said
    assert "Samples per step." in said


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys; from pipelines import cli\n"
        "cli.PIPELINES['toy'] = 'tests.pipelines.toy'\n"
        "cli.main(sys.argv[1:])\n"
        "print(sorted({'torch', 'numpy', 'rich', 'jinja2'} & set(sys.modules)), file=sys.stderr)"
    )
    root = str(Path(__file__).parents[2])
    for argv in (["--help"], ["toy", "run", "--help"], ["--version"]):
        command = [sys.executable, "-c", code, *argv]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "[]\n"


def test_the_help_answers_within_half_a_second():
    command = [sys.executable, "-m", "pipelines", "--help"]
    root = str(Path(__file__).parents[2])
    before = os.times()
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    after = os.times()
    # processor time: the machine may be busy
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    assert spent < 0.5
