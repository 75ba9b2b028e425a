"""What commands there are: their arguments, and what each calls.

Each command imports what it needs when it is called, so that `status` loads no torch.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from hpo import __version__
from hpo.errors import InputError
from hpo.study.trust import TRUST

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

OVERRIDES = """\
overrides have the form KEY=VALUE, as in Hydra:
  experiment=demo                                   a whole study preset (the default)
  study.name=mine study.root=/shared/studies        which study, and where
  budget.trials=40 batch.size=8 batch.refill=4      how many trials, how many at once
  cluster=slurm cluster.partition=gpu cluster.time_limit=04:00:00
  data.path=my.jsonl data.template=alpaca           your data
  space.learning_rate='tag(log, interval(1e-5, 1e-3))' space.lora_rank='range(4, 256, step=4)'
  space.target_modules='choice(qv, attention, all)' '~space.lora_alpha'
every key and its default is in the YAML files of conf/.
"""
CONFIG_DIR = "FRONTRUNNER_CONFIG_DIR"  # the folder of a site's own profiles, for all its users
SHOWN = "configuration"  # what any command with overrides becomes by --cfg or --info
EXIT_CODES = "exit codes: 0 done, 1 failed, 2 bad input, 3 interrupted but resumable"


def read_command(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command and its arguments; overrides may stand before, between and after the options."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    wrong = [text for text in rest if text.startswith("-") or not hasattr(options, "overrides")]
    if wrong:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if getattr(options, "cfg", None) or getattr(options, "info", None):
        options.command = SHOWN
    if rest:  # argparse gives up on `*` once an option has come after the first positional
        options.overrides += rest
    if named := getattr(options, "trust", None):  # jobs and processes that go on with the command know it too
        os.environ[TRUST] = " ".join([os.environ.get(TRUST, ""), *named])
    return options


def command_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="frontrunner",
        description="Tune QLoRA fine-tunes on a Slurm cluster, or on this machine.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"frontrunner {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "tune": "drive a study until its budget ends; run again, it goes on where it stopped",
        "step": "one pass of the same loop, then exit: for cron or scrontab",
        "plan": "submit nothing: show the space, the first batch and the exact sbatch text",
        "doctor": "check this site and node before the first GPU-hour is spent, or the files of a STUDY",
        "data": "show what trials read: counts, what filters dropped, lengths, and some examples",
        "prefetch": "put into the cache what the nodes need, so that they download nothing",
    }.items():
        _add_configured(commands, name, text)
    status = _add_study(commands, "status", "trials, queue, budget, front and last errors of a study")
    status.add_argument("--json", action="store_true", help="for scripts")
    status.add_argument("--watch", action="store_true", help="again every few seconds, until Ctrl-C")
    train = _add_derived(
        commands, "train", "train the configuration of a trial for longer, or merge its weights"
    )
    train.add_argument("--trial", required=True, metavar="ID", help="of a completed trial")
    train.add_argument("--from-adapter", action="store_true", help="go on from the trial's weights")
    train.add_argument("--merge", action="store_true", help="then write base model and adapter as one model")
    train.add_argument(
        "--merge-only", action="store_true", help="write it of the trial as it is; train nothing"
    )
    evaluate = _add_derived(commands, "evaluate", "judge trials and the untuned base model by held-out tasks")
    evaluate.add_argument("--trials", metavar="IDS", help="0003,0007 or all (default: the Pareto front)")
    evaluate.add_argument("--bases", metavar="BASES", help="4bit,16bit (default: evaluation.bases)")
    report = _add_study(commands, "report", "one HTML page, pictures and trials.csv of a study, at any time")
    limit = "of which trials may be taken, as 'train_seconds<=7200'; may be given again"
    report.add_argument("--limit", action="append", default=[], metavar="METRIC<=NUMBER", help=limit)
    export = _add_study(commands, "export", "a study in the format of another tool")
    formats = ("csv", "parquet", "optuna", "mlflow", "tensorboard")
    export.add_argument("--format", choices=formats, default="csv", help="default: csv")
    place = (
        "a new file or folder, or the address of a database or server (default: the study's folder export)"
    )
    export.add_argument("--to", metavar="PLACE", help=place)
    _add_compare(commands)
    cancel = _add_study(commands, "cancel", "stop what is in flight; it stays stopped")
    cancel.add_argument("trials", nargs="*", metavar="TRIAL", help="only these (default: the whole study)")
    retry = _add_study(
        commands,
        "retry",
        "give failed, cancelled or named stopped trials another attempt, with the next `tune`",
    )
    retry.add_argument("trials", nargs="*", metavar="TRIAL", help="only these (default: all that failed)")
    pause = _add_study(commands, "pause", "let nothing new start, until `resume`; what runs goes on")
    pause.add_argument("--now", action="store_true", help="running trials save their state and wait too")
    resume = _add_study(commands, "resume", "take a pause back")
    throttle = _add_study(commands, "throttle", "how many trials may run at once, from now on")
    throttle.add_argument("at_once", metavar="AT_ONCE", help="a number, or none for cluster.max_parallel")
    for acting in (train, evaluate, cancel, retry, pause, resume, throttle):
        trust = "act although the folder is this owner's, or names this executor or trial kind, not ours"
        acting.add_argument("--trust", action="append", metavar="NAME", help=trust)
    text = "print the line of code by which a shell completes commands, groups and keys on Tab"
    completion = commands.add_parser("completion", help=text, description=text)
    completion.add_argument("shell", choices=("bash", "zsh", "words"), help="words: what may stand last")
    completion.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD", help="what was typed so far")
    return parser


def _add_configured(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> None:
    parser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=OVERRIDES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name in ("tune", "step"):
        parser.add_argument(
            "-m", "--multirun", action="store_true", help="one study per combination of values: seed=1,2,3"
        )
    if name == "plan":
        times = "run what is left of the study so often on a simulated cluster: its end, and its cost"
        parser.add_argument("--simulate", type=int, metavar="N", help=times)
        parser.add_argument("--json", action="store_true", help="with --simulate: only that, for scripts")
    _add_config_dir(parser)
    shown = "print the composed configuration as YAML, and do nothing else"
    parser.add_argument("--cfg", choices=("job",), help=shown)
    parser.add_argument("--resolve", action="store_true", help="with --cfg: values in place of ${...}")
    parser.add_argument("--info", choices=("defaults",), help="print the files that it is composed of")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of the configuration")
    if name == "doctor":
        parser.usage = "frontrunner doctor [--config-dir DIR] [KEY=VALUE ...] | [--root ROOT] STUDY"
        parser.add_argument("--root", default="studies", help="the study root of STUDY (default: studies)")


def _add_config_dir(parser: argparse.ArgumentParser) -> None:
    text = f"a folder with configuration groups of your own (default: ${CONFIG_DIR})"
    parser.add_argument("--config-dir", metavar="DIR", default=os.environ.get(CONFIG_DIR) or None, help=text)


def _add_derived(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    parser = _add_study(commands, name, text)
    parser.add_argument(
        "--name", metavar="NAME", help="of what is made (default: from the study's and its own)"
    )
    _add_config_dir(parser)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of what the study ran")
    return parser


def _add_study(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("study", metavar="STUDY", help="a study folder, or a name under the study root")
    parser.add_argument("--root", default="studies", help="the study root (default: studies)")
    return parser


def _add_compare(commands: Commands) -> None:
    text = "studies side by side: curves with their noise over seeds, and who gets there sooner"
    parser = commands.add_parser("compare", help=text, description=text)
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="study folders, or names under the root")
    parser.add_argument("--root", default="studies", help="the study root (default: studies)")
    groups = "what makes a group (default: studies that differ in nothing but the seed)"
    parser.add_argument("--group", choices=("auto", "strategy", "name"), default="auto", help=groups)
    parser.add_argument("--objective", metavar="NAME", help="compare the best value of one objective")
    parser.add_argument("--to", default="comparison", metavar="DIR", help="default: comparison")


def _tune(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.arms import drive
    from hpo.commands.sweep import drive_all, expand

    # a login node's reaper and scancel send TERM: leave as on Ctrl-C, the lease given back
    signal.signal(signal.SIGTERM, _interrupt)
    overrides, once = options.overrides, options.command == "step"
    studies = expand(overrides, options.config_dir) if options.multirun else [overrides]
    if len(studies) > 1:
        return drive_all(studies, options.config_dir, out, once=once)
    return drive(studies[0], options.config_dir, out, once=once)


def _interrupt(signum: int, frame: object) -> None:
    signal.signal(signum, signal.SIG_IGN)  # Slurm sends it more than once; once is enough to leave
    raise KeyboardInterrupt


def _plan(options: argparse.Namespace, out: Console) -> int:
    if options.json and options.simulate is None:
        raise InputError([("--json", "expected --simulate N with it")])
    if options.json:
        from hpo.commands.planning.simulate import print_forecast

        return print_forecast(options.overrides, options.config_dir, options.simulate)
    from hpo.commands.plan import plan

    return plan(options.overrides, options.config_dir, out, options.simulate)


def _doctor(options: argparse.Namespace, out: Console) -> int:
    studies = [text for text in options.overrides if "=" not in text and not text.startswith(("~", "+"))]
    if studies and studies == options.overrides:
        from hpo.commands.doctor_study import doctor_study

        return max(doctor_study(name, Path(options.root), out) for name in studies)
    from hpo.commands.doctor import doctor

    return doctor(options.overrides, options.config_dir, out)


def _prefetch(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.data import prefetch

    return prefetch(options.overrides, options.config_dir, out)


def _data(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.data import preview

    return preview(options.overrides, options.config_dir, out)


def _status(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.status import status

    return status(options.study, Path(options.root), out, as_json=options.json, watch=options.watch)


def _train(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.train import TrainRequest, train

    signal.signal(signal.SIGTERM, _interrupt)
    wanted = TrainRequest(
        options.trial, options.name, options.from_adapter, options.merge, options.merge_only
    )
    return train(options.study, Path(options.root), wanted, options.overrides, options.config_dir, out)


def _evaluate(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.evaluate import EvaluationRequest, evaluate

    signal.signal(signal.SIGTERM, _interrupt)
    choice = EvaluationRequest(options.trials, options.bases, options.name)
    return evaluate(options.study, Path(options.root), choice, options.overrides, options.config_dir, out)


def _report(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.report import report

    signal.signal(signal.SIGTERM, _interrupt)  # nothing half-written is left
    return report(options.study, Path(options.root), out, options.limit)


def _export(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.export import export

    return export(options.study, Path(options.root), options.format, options.to, out)


def _compare(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.compare import compare

    root, to = Path(options.root), Path(options.to)
    return compare(options.studies, root, options.group, options.objective, to, out)


def _cancel(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.manage import cancel

    return cancel(options.study, Path(options.root), options.trials, out)


def _retry(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.manage import retry

    return retry(options.study, Path(options.root), options.trials, out)


def _pause(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.manage import pause

    return pause(options.study, Path(options.root), out, now=options.now)


def _resume(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.manage import resume

    return resume(options.study, Path(options.root), out)


def _throttle(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.manage import throttle

    return throttle(options.study, Path(options.root), options.at_once, out)


def _completion(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.completion import completion

    return completion(options.shell, options.words, command_parser(), out)


def _configuration(options: argparse.Namespace, out: Console) -> int:
    from hpo.commands.configuration import show_config, show_defaults

    if options.info:
        return show_defaults(options.overrides, options.config_dir, out)
    return show_config(options.overrides, options.config_dir, out, resolve=options.resolve)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "tune": _tune,
    "step": _tune,
    "plan": _plan,
    "doctor": _doctor,
    "data": _data,
    "prefetch": _prefetch,
    "status": _status,
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
    "export": _export,
    "compare": _compare,
    "cancel": _cancel,
    "retry": _retry,
    "pause": _pause,
    "resume": _resume,
    "throttle": _throttle,
    "completion": _completion,
    SHOWN: _configuration,
}
