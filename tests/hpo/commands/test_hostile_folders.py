"""Study folders that were made to harm who looks at them, or acts on them: they are shown, and do nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiers import quick

from hpo.cli import main
from hpo.commands.tune import configured
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.controller.targets import own_targets, refuse_unknown_targets
from hpo.display.plain_console import as_text
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.records import Metric, TrialResult, read_json, write_json
from hpo.study import trust
from hpo.study.journal import Journal
from hpo.study.state import Event
from hpo.study.store import create_study

CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\ndef Evil(*a, **k): pass\n"
LOOK = (("status",), ("status", "--json"), ("export",))
REPORT = (*LOOK, ("report",))
ACT = (("cancel",), ("retry",), ("pause", "--now"), ("resume",), ("throttle", "none"))
DERIVE = (("evaluate",), ("train", "--trial", "0000"))
SECRET = "what only its owner may read"

Change = Callable[[StudyPaths, Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three trials: 0000 is completed, 0001 failed, 0002 is under way."""
    root = tmp_path_factory.mktemp("studies")
    parts = assemble(
        *compose_config([f"study.root={root}", "study.name=mine", "cluster=local", "trainer=synthetic"])
    )
    paths = parts.paths
    create_study(paths, parts.raw, parts.identity, {**configured(parts), "earlier": {}})
    journal = Journal(paths.journal)
    proposals = parts.proposer().propose(journal.study, 3)
    for proposed in proposals:
        paths.trial(proposed.spec.trial).folder.mkdir()
        write_json(paths.trial(proposed.spec.trial).spec, proposed.spec.to_json())
    events = [proposed.to_event() for proposed in proposals]
    journal.record(Event.BATCH_PLANNED, batch="0000", proposals=events, retries=[], request=None)
    journal.record(Event.BATCH_SUBMITTED, batch="0000", job_id="local-1")
    metrics = {"eval_loss": Metric(1.0), "train_seconds": Metric(2.0)}
    plain = {name: asdict(metric) for name, metric in metrics.items()}
    journal.record(Event.TRIAL_COMPLETED, trial="0000", batch="0000", metrics=plain, attempt=1)
    write_json(paths.trial("0000").metrics, TrialResult("0000", 1, metrics).to_json())
    journal.record(Event.TRIAL_FAILED, trial="0001", cause="error", message="broken")
    paths.trial("0000").adapter.mkdir()
    (paths.trial("0000").adapter / "adapter_config.json").write_text("{}")
    return paths.folder


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is the reader's own: a module that says when it was imported, files, an environment variable."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "evil.py").write_text(CODE)
    (folder / "secret.json").write_text(json.dumps({"schema_version": 1, "text": SECRET}))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("HOSTILE_SECRET", SECRET)
    monkeypatch.delenv(trust.TRUST, raising=False)
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> StudyPaths:
    """A copy of the study, to be made hostile."""
    return StudyPaths(Path(shutil.copytree(made, tmp_path / "mine")))


def in_yaml(key: str, value: Any) -> Change:
    """A key of study.yaml's configuration."""

    def change(paths: StudyPaths, outside: Path) -> None:
        record = yaml.safe_load(paths.configuration.read_text())
        place = record["config"]
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
        paths.configuration.write_text(yaml.safe_dump(record))

    return change


def in_journal(event: str, change_of: Callable[[dict[str, Any]], None]) -> Change:
    """Something else in the events of one kind."""

    def change(paths: StudyPaths, outside: Path) -> None:
        records = [json.loads(line) for line in paths.journal.read_text().splitlines()]
        for record in records:
            if record["event"] == event:
                change_of(record)
        paths.journal.write_text("".join(json.dumps(record) + "\n" for record in records))

    return change


def appended(**event: Any) -> Change:
    """One more event."""

    def change(paths: StudyPaths, outside: Path) -> None:
        record = {"schema_version": 1, "at": "2026-01-01T00:00:00+00:00", **event}
        with paths.journal.open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    return change


def link(name: str, to: str) -> Change:
    """A link in place of a file or folder of the study."""

    def change(paths: StudyPaths, outside: Path) -> None:
        place = paths.folder / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(outside / to)

    return change


def text(name: str, content: str) -> Change:
    """Another content of a file."""

    def change(paths: StudyPaths, outside: Path) -> None:
        (paths.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.folder / name).write_text(content)

    return change


def spec(**recipe: Any) -> Change:
    """Another recipe in what the completed trial ran."""

    def change(paths: StudyPaths, outside: Path) -> None:
        record = read_json(paths.trial("0000").spec)
        for key, value in recipe.items():
            group, name = key.split("__")
            record["recipe"][group][name] = value
        write_json(paths.trial("0000").spec, record)

    return change


def pipe(name: str) -> Change:
    """A pipe, from which nothing ever comes."""

    def change(paths: StudyPaths, outside: Path) -> None:
        os.mkfifo(paths.folder / name)

    return change


def both(*changes: Change) -> Change:
    """One change after the other."""

    def change(paths: StudyPaths, outside: Path) -> None:
        for one in changes:
            one(paths, outside)

    return change


def taken_to(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets a key of an event, a dotted one deeper down."""

    def change(record: dict[str, Any]) -> None:
        place: Any = record
        *parents, last = key.split(".")
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value

    return change


HUB = {"_target_": "torch.hub.load", "repo_or_dir": ".", "model": "Evil", "source": "local"}
CREATED, PLANNED, SUBMITTED = "study_created", "batch_planned", "batch_submitted"
BATCH = {"batch": "0001", "proposals": [], "retries": []}
OBJECT = "config: !!python/object/apply:os.system ['touch outside/ran']\n"
PROGRESS = '{"schema_version": 1, "attempt": "1", "phase": ["x"], "step": "s", "steps": {}}\n'

HOSTILE: Mapping[str, tuple[Change, Sequence[tuple[str, ...]]]] = {
    "executor in study.yaml": (in_yaml("cluster._target_", "evil.Evil"), (*LOOK, *ACT, *DERIVE)),
    "executor that loads code": (in_yaml("cluster", HUB), (*REPORT, *ACT, *DERIVE)),
    "trial kind in study.yaml": (in_yaml("trainer._target_", "evil.Evil"), (*LOOK, *DERIVE)),
    "executor in the journal": (
        in_journal(CREATED, taken_to("settings.cluster._target_", "evil.Evil")),
        (*LOOK, *DERIVE),
    ),
    "trial kind in the journal": (
        in_journal(CREATED, taken_to("identity.trainer._target_", "evil.Evil")),
        (*LOOK, *DERIVE),
    ),
    "trial kind in a spec": (spec(trainer___target_="evil.Evil"), DERIVE),
    "executor where a kind should be": (in_yaml("trainer._target_", "slurm.auto.auto"), DERIVE),
    "configuration files of hydra": (in_yaml("defaults", ["/evil"]), DERIVE),
    "settings of hydra": (in_yaml("hydra", {"searchpath": ["file://."]}), DERIVE),
    "environment in a text": (in_yaml("trainer.seconds", "${oc.env:HOSTILE_SECRET}"), DERIVE),
    "object in study.yaml": (text("study.yaml", OBJECT), (*REPORT, *ACT, *DERIVE)),
    "trial outside": (
        in_journal(PLANNED, taken_to("proposals.0.trial", "../../outside")),
        (*LOOK, *ACT, *DERIVE),
    ),
    "trial at an absolute path": (
        in_journal(PLANNED, taken_to("proposals.1.trial", "/tmp")),
        (*LOOK, *ACT, *DERIVE),
    ),
    "batch outside": (in_journal(PLANNED, taken_to("batch", "..")), (*LOOK, *ACT)),
    "batch outside, by a split": (
        appended(event="batch_split", batch="0000", into="../x", keep=1),
        (*LOOK, *ACT),
    ),
    "array that is an option": (in_journal(SUBMITTED, taken_to("job_id", "--user=me")), (*LOOK, *ACT)),
    "array of two lines": (in_journal(SUBMITTED, taken_to("job_id", "1\n2")), (*LOOK, *ACT)),
    "request outside": (
        appended(event="proposal_requested", request="../../outside", job_id="1", room=1, since=0),
        (*LOOK, *ACT),
    ),
    "study with a path for a name": (in_journal(CREATED, taken_to("study", "../x")), (*LOOK, *DERIVE)),
    "study whose mark is an option": (in_journal(CREATED, taken_to("uid", "-x --me")), (*LOOK, *ACT)),
    "retry of nothing": (appended(event="batch_planned", **{**BATCH, "retries": ["x"]}), (*LOOK, *ACT)),
    "journal elsewhere": (link("journal.jsonl", "secret.json"), (*LOOK, *ACT, *DERIVE)),
    "trial elsewhere": (link("trials/0000", "."), (*LOOK, *ACT, *DERIVE)),
    "result elsewhere": (link("trials/0000/metrics.json", "secret.json"), (*REPORT, *DERIVE)),
    "samples elsewhere": (link("trials/0000/samples.json", "secret.json"), REPORT),
    "evaluation elsewhere": (link("evaluations/a/evaluation.json", "secret.json"), REPORT),
    "report elsewhere": (link("report", "."), REPORT),
    "export elsewhere": (link("export", "."), REPORT),
    "stop elsewhere": (link("stop", "made"), ACT),
    "cancel elsewhere": (link("trials/0002/cancel", "made"), ACT),
    "pause elsewhere": (link("pause", "made"), ACT),
    "throttle elsewhere": (link("throttle", "made"), (("throttle", "3"),)),
    "adapter elsewhere": (link("trials/0000/adapter", "."), DERIVE),
    "pipe for a result": (pipe("trials/0001/progress.jsonl"), (*REPORT, *ACT)),
    "pipe for a lease": (pipe("controller.json"), (*LOOK, *ACT)),
    "lease of nonsense": (text("controller.json", '{"schema_version": 1, "pid": "x"}'), LOOK),
    "progress of nonsense": (text("trials/0002/progress.jsonl", PROGRESS), REPORT),
    "queue of nonsense": (
        text("queue.json", '{"schema_version": 1, "tasks": {"0000:2": "abc"}, "at": "x"}'),
        LOOK,
    ),
    "failure without a number": (text("trials/0002/failure-x.json", "{}"), (*LOOK, *ACT)),
    "attempt without a number": (text("trials/0002/attempts/².json", "{}"), (*LOOK, *ACT)),
    "metric without a number": (
        in_journal("trial_completed", taken_to("metrics.eval_loss.value", "[b]1")),
        LOOK,
    ),
    "time without a zone": (in_journal(CREATED, taken_to("at", "2026-01-01T00:00:00")), LOOK),
    "objective with a path for a name": (
        both(
            in_journal(CREATED, taken_to("objectives", {"/../../../outside/made": {"direction": "min"}})),
            in_journal("trial_completed", taken_to("metrics", {"/../../../outside/made": {"value": 1.0}})),
        ),
        REPORT,
    ),
}


def everything(folder: Path) -> dict[str, bytes]:
    """What there is outside, to see that it stays so; the compiled module is Python's own."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


QUICK = {
    "executor in study.yaml",
    "executor in the journal",
    "trial kind in a spec",
    "settings of hydra",
    "trial outside",
    "batch outside",
    "array that is an option",
    "study with a path for a name",
    "result elsewhere",
    "pipe for a lease",
    "progress of nonsense",
    "metric without a number",
}


@pytest.mark.parametrize("name", quick(HOSTILE, QUICK))
def test_a_hostile_folder_does_nothing(
    name: str,
    study: StudyPaths,
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command ends with an exit code of its own; nothing outside is run, written, read or told."""
    monkeypatch.chdir(study.folder.parent)
    monkeypatch.setattr("hpo.commands.train.run", lambda *_: 0)
    monkeypatch.setattr("hpo.commands.evaluate.run", lambda *_: 0)
    monkeypatch.setattr("hpo.commands.manage.SETTLE_S", 0.0)
    change, commands = HOSTILE[name]
    change(study, outside)
    before = everything(outside)
    for command, *rest in commands:
        code = main([command, str(study.folder), *rest])
        assert code in (0, 1, 2), f"{command}: {code}"
    assert everything(outside) == before
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    page = study.report_page
    assert not page.exists() or SECRET not in page.read_text()


@pytest.mark.parametrize("command", [*ACT, *DERIVE])
def test_a_folder_of_somebody_else_is_not_acted_on(
    command: tuple[str, ...],
    study: StudyPaths,
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said whose it is and what would be run; the folder stays as it is."""
    in_yaml("notify.command", ["sh", "-c", "touch ran"])(study, outside)
    before = everything(study.folder)
    owner, reader = os.geteuid(), os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    assert main([command[0], str(study.folder), *command[1:]]) == 2
    assert everything(study.folder) == before
    said = capsys.readouterr().err
    assert "--trust" in said
    assert trust._user(owner) in said
    if command in DERIVE:
        assert "notify.command: ['sh', '-c', 'touch ran']" in said


def test_an_owner_that_is_trusted_by_name_is_obeyed(
    study: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, and so by whatever goes on with the command."""
    owner, reader = os.geteuid(), os.geteuid() + 1
    monkeypatch.setenv(trust.TRUST, "")
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    assert main(["pause", str(study.folder), "--trust", trust._user(owner)]) == 0
    assert study.pause.exists()


def test_somebody_elses_study_is_not_driven(
    study: StudyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What its trials are to run stands in its specs."""
    reader = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    overrides = [f"study.root={study.folder.parent}", "study.name=mine", "cluster=local", "trainer=synthetic"]
    assert main(["tune", *overrides]) == 2
    assert "belongs to" in capsys.readouterr().err


def test_looking_is_free(study: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` and `export` to a place of one's own work in everybody's folder."""
    reader = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    assert main(["status", str(study.folder)]) == 0
    assert main(["export", str(study.folder), "--to", str(study.folder.parent / "mine.csv")]) == 0


def test_links_within_the_folder_and_to_it_are_followed(study: StudyPaths, tmp_path: Path) -> None:
    """A study on a scratch disk is reached by a link, and an external program links its newest files."""
    (tmp_path / "known").symlink_to(study.folder)
    study.trial("0000").program.mkdir()
    (study.trial("0000").program / "data").symlink_to("/usr/share")
    (study.folder / "latest").symlink_to("trials/0000")
    assert main(["status", str(tmp_path / "known")]) == 0


def test_targets_of_our_own_are_known_by_every_name_they_had() -> None:
    """Those of conf/, and the modules that are kept for earlier versions."""
    assert {"jobs.kinds.qlora.Qlora", "jobs.foresight.Qlora", "jobs.command.Command"} <= own_targets(
        "trainer"
    )
    assert {"jobs.decode.Decode", "jobs.synthetic.Synthetic"} <= own_targets("trainer")
    assert {
        "slurm.auto.auto",
        "slurm.local_executor.LocalExecutor",
        "slurm.simulated_executor.SimulatedExecutor",
        "slurm.slurm_executor.SlurmExecutor",
    } == own_targets("cluster")


def test_a_target_of_ones_own_is_named_to_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what the folder names and how to name it oneself."""
    raw = {"cluster": {"_target_": "site.Executor"}, "trainer": {"_target_": "jobs.kinds.qlora.Qlora"}}
    monkeypatch.delenv(trust.TRUST, raising=False)
    with pytest.raises(InputError, match=r"names 'site\.Executor'") as caught:
        refuse_unknown_targets(raw)
    assert "--trust NAME" in caught.value.hint
    refuse_unknown_targets(raw, ["site.Executor"])
    monkeypatch.setenv(trust.TRUST, "alice,site.Executor")
    refuse_unknown_targets(raw)


TEXTS = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;taken\x07",
    "one byte": "\x9b31m",
    "overwritten": "shown\rhidden\x08",
    "turned": "\u202etxt.exe",
    "mark-up": "[link=http://x]here[/link] [/] [bold]",
    "emoji": ":skull:",
    "script": "</script><script>document.title = 'taken'</script>",
    "mathematics": "$\\frac{",
}


LEFT_OUT = str.maketrans("", "", "\r\x07\x08")  # by rich, before they are looked at


def test_text_of_a_study_is_shown(study: StudyPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever names, values, messages and reasons stand, terminal and page show them as text."""
    every = "".join(TEXTS.values())
    for place in ("proposals.0.params.target_modules", "proposals.0.origin"):
        in_journal(PLANNED, taken_to(place, every))(study, study.folder)
    in_journal("trial_failed", taken_to("message", every))(study, study.folder)
    record = {"schema_version": 1, "tasks": {"0000:2": ["pending", every, ""]}, "at": every}
    write_json(study.queue, record)
    assert main(["status", str(study.folder)]) == 0
    out = capsys.readouterr().out
    assert not [sign for sign in out if sign != "\n" and as_text(sign) != sign]
    seen = "".join(out.split())
    for given in TEXTS.values():
        assert "".join(as_text(given.translate(LEFT_OUT)).split()) in seen
    assert main(["report", str(study.folder)]) == 0
    assert TEXTS["script"] not in study.report_page.read_text()
