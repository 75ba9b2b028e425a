"""What README and docs say is so: links, commands, keys, the example."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from browser import EVERY_FIGURE, check, chromium
from tiers import quick

from hpo.cli import main
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGETS = (
    *("setup", "tune", "step", "plan", "doctor", "status", "report", "evaluate", "train", "cancel"),
    *("test", "test-slurm"),
    *("test-browser", "test-gpu", "lint", "type", "slurm-up", "slurm-down", "benchmark", "chaos", "clean"),
)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a page."""
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands() -> Iterator[str]:
    """Every shell command of every page."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            yield from (line for line in block.splitlines() if line.strip())


def overrides_of(command: str) -> list[str] | None:
    """The overrides that a command hands to Hydra; None where it hands it none."""
    words = shlex.split(command)
    for word in words:
        if word.startswith("ARGS="):
            return [own for own in shlex.split(word.removeprefix("ARGS=")) if "=" in own]
    if words[0] in ("frontrunner", "sbatch"):
        return [word for word in words[2:] if "=" in word]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page exists."""
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_make_help_lists_the_targets() -> None:
    """Every promised target is there, with a line of help."""
    shown = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    listed = [line.split()[0] for line in shown.splitlines()[1:]]
    assert [target for target in TARGETS if target not in listed] == []


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_make_commands_name_real_targets(command: str) -> None:
    """make itself accepts the command as written."""
    subprocess.run(
        ["make", "--dry-run", *shlex.split(command)[1:]], cwd=REPOSITORY, capture_output=True, check=True
    )


OVERRIDES = [command for command in commands() if overrides_of(command)]


@pytest.mark.parametrize("command", quick(OVERRIDES, OVERRIDES[::4]))
def test_overrides_are_accepted_as_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`plan` takes what the pages tell users to type."""
    row = '{{"instruction": "Say {0}.", "input": "", "output": "{0}"}}\n'
    (tmp_path / "my_data.jsonl").write_text("".join(row.format(n) for n in range(40)))
    (tmp_path / "benchmarks").symlink_to(REPOSITORY / "benchmarks")
    monkeypatch.chdir(tmp_path)
    status = main(["plan", *(overrides_of(command) or []), f"study.root={tmp_path / 'studies'}"])
    shown = capsys.readouterr()
    if "cluster=slurm" in command and "Slurm" in shown.err and not _slurm_is_installed():
        pytest.skip("no Slurm client here: cluster=slurm cannot be planned")
    assert status == 0, shown.err
    assert "First batch" in shown.out


def _single_overrides() -> list[str]:
    """Every override that the text of a page shows by itself; capitals stand for what the reader fills in."""
    keys = yaml.safe_load((REPOSITORY / "conf" / "config.yaml").read_text(encoding="utf-8"))
    groups = {path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir()}
    shown = {text for page in PAGES for text in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))}
    form = re.compile(r"'?[+~]*([a-z_]+)[\w.]*=(?!.*(NAME|METRIC|\.\.\.))(\S+|.*')")
    own = (text for text in shown if (match := form.fullmatch(text)) and match[1] in {*keys, *groups})
    return sorted(word for text in own for word in shlex.split(text))


@pytest.mark.slow
@pytest.mark.parametrize("override", _single_overrides())
def test_single_override_on_the_default_study(override: str) -> None:
    """What is wrong, if anything, is the value that was given or what it is for: no key that nobody named."""
    raw, problems = compose_config([override])
    assert [text for _, text in problems if not text.endswith("it")] == []  # evaluation=tasks has it
    try:
        assemble(raw, problems)
    except InputError as error:
        unnamed = ("there is no such key", "is missing", "unknown key", "missing, expected")
        strange = [
            (key, text)
            for key, text in error.problems
            if key != override.partition("=")[0] and not key.startswith("space.")
            if any(words in text for words in unnamed)
        ]
        assert strange == []


def _output(command: list[str], folder: Path, timeout_s: float | None = None) -> str:
    # a make that runs these tests hands its ARGS down to every make below it
    own = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(
        command, cwd=folder, env=own, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _clone(folder: Path) -> Path:
    """A fresh clone that is set up already: setting up is pip's work, and whoever runs this has done it."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    # older than the environment, or make would install the clone in place of the repository
    os.utime(folder / "pyproject.toml", (0, 0))
    return folder


def _assert_ended(output: str, trials: int) -> None:
    """All of the demo's trials ended; with a learning rate of 0.01 one may have diverged, not more."""
    counted = re.search(r"(\d+) trials completed, (\d+) failed, 0 cancelled", output)
    assert counted is not None, output
    completed, failed = (int(number) for number in counted.groups())
    assert completed + failed == trials, output
    assert completed >= trials * 2 / 3, output
    assert len(re.findall(r"^\S+ +trial \d+ failed \(diverged\)", output, re.MULTILINE)) == failed, output


def _slurm_is_installed() -> bool:
    return subprocess.run(["which", "sbatch"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("code", blocks(REPOSITORY / "README.md", "python"))
def test_python_example_runs(code: str) -> None:
    """The README's example, as written, in a fresh process."""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_repository_names_no_place_outside_itself() -> None:
    """No absolute path of a developer's machine and no registry host is committed."""
    listed = _output(["git", "ls-files"], REPOSITORY)
    foreign = re.compile(r"/(?:work|root|home)/\w|pypi\.org|pythonhosted|download\.pytorch|registry\.npm")
    found = [
        name
        for name in listed.splitlines()
        if Path(name).suffix not in (".png", ".pkl") and name != "tests/test_docs.py"
        if foreign.search((REPOSITORY / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.slow
@pytest.mark.long(300)
def test_first_commands_of_the_readme_in_a_fresh_clone(tmp_path: Path) -> None:
    """`make tune` makes a front that beats the untuned model; again, it has nothing to do.

    Five of the demo's twelve trials: the first design, and one that the model proposes. The page that it
    made by itself is opened in a browser.
    """
    clone, command = _clone(tmp_path / "clone"), ["make", "tune", "ARGS=budget.trials=5"]
    first = _output(command, clone)
    _assert_ended(first, 5)
    assert "untuned" in first
    page = clone / "studies" / "demo" / "report" / "report.html"
    assert first.splitlines()[-1] == f"report    {page}"
    with chromium() as browser:
        if browser is not None:
            check(browser, page, EVERY_FIGURE)
    assert "nothing to do" in _output(command, clone, timeout_s=15)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.long(200)
def test_slurm_commands_of_the_readme_in_a_fresh_clone(require_slurm: None, tmp_path: Path) -> None:
    """The README's three lines: a cluster, trials as arrays on it (three short ones), no process left."""
    clone = _clone(tmp_path / "clone")
    lines = [line for line in commands() if line == 'make tune ARGS="cluster=slurm study.name=on_slurm"']
    _output(["make", "slurm-up"], clone)
    try:
        *make, arguments = shlex.split(lines[0])
        short = "budget.trials=3 batch.size=2 batch.refill=2 trainer.max_steps=4 data.validation_examples=16"
        _assert_ended(_output([*make, f"{arguments} {short} report.automatic=false"], clone), 3)
    finally:
        _output(["make", "slurm-down"], clone)
    assert len(list((clone / "studies" / "on_slurm" / "batches").glob("*/batch.json"))) == 2
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def _keys(values: dict[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        elif key not in ("defaults", "_target_"):
            yield f"{prefix}{key}", value


@pytest.mark.parametrize(
    ("file", "prefix"),
    [
        ("config.yaml", ""),
        ("model/smollm2_135m.yaml", "model."),
        ("data/demo.yaml", "data."),
        ("trainer/qlora.yaml", "trainer."),
        ("trainer/synthetic.yaml", "trainer."),
        ("trainer/command.yaml", "trainer."),
        ("trainer/table.yaml", "trainer."),
        ("trainer/decode.yaml", "trainer."),
        ("evaluation/loss.yaml", "evaluation."),
        ("evaluation/tasks.yaml", "evaluation."),
        ("strategy/bo.yaml", "strategy."),
        ("cluster/base.yaml", "cluster."),
    ],
)
def test_reference_has_every_key_with_its_default(file: str, prefix: str) -> None:
    """docs/configuration.md and conf/ say the same, key by key."""
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = page.partition(f"\n`conf/{file}`")[2].partition("\n`conf/")[0]
    stated = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| \S", section, re.MULTILINE))
    values = yaml.safe_load((REPOSITORY / "conf" / file).read_text(encoding="utf-8"))
    wrong = [
        f"{key}: {stated.get(key)!r}, not {value!r}"
        for key, value in _keys(values, prefix)
        if key not in stated or yaml.safe_load(stated[key]) != value
    ]
    assert wrong == []
