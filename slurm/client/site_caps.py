"""Caps that a site's accounting puts on a user: of the association and of the QOS. Lines of `doctor`."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping

from slurm.client.command import run
from slurm.client.site_limits import minutes
from slurm.settings import ClusterSettings

Line = tuple[str, str, str]  # (ok | warn | fail, what, hint)
Caps = tuple[str, Mapping[str, str]]  # (whose, caps by sacctmgr's names; one that is not set is empty)

# What sacctmgr calls a cap, and what it means for an array.
_MEANINGS = {
    "MaxSubmitJobs": "elements submitted at a time",
    "MaxSubmitJobsPU": "elements submitted at a time",
    "GrpSubmitJobs": "elements submitted at a time, of all its users",
    "MaxJobs": "elements running at a time",
    "MaxJobsPU": "elements running at a time",
    "GrpJobs": "elements running at a time, of all its users",
    "MaxTRES": "for one element",
    "MaxTRESPU": "at a time",
    "GrpTRES": "at a time, of all its users",
    "MaxWall": "of time for one element",
}
_GROUP = ("GrpSubmitJobs", "GrpJobs", "GrpTRES", "MaxTRES", "MaxWall")
_ASSOCIATION = ("Account", "DefaultQOS", "MaxSubmitJobs", "MaxJobs", *_GROUP)
_QOS = ("Name", "MaxSubmitJobsPU", "MaxJobsPU", "MaxTRESPU", *_GROUP)


def check_caps(configuration: Mapping[str, str], settings: ClusterSettings) -> Iterator[Line]:
    """One line for each cap of the wanted account and QOS.

    Args:
        configuration: of `site_limits.parse_configuration`.
        settings: what is wanted.
    """
    for whose, caps in ask_caps(configuration, settings):
        yield from cap_lines(whose, caps, settings)


def ask_caps(configuration: Mapping[str, str], settings: ClusterSettings) -> list[Caps]:
    """Ask the accounting for the caps of the wanted account and QOS; nothing where none are enforced.

    Args:
        configuration: of `site_limits.parse_configuration`.
        settings: what is wanted.
    """
    enforced = configuration.get("AccountingStorageEnforce", "").lower()
    if not any(word in enforced for word in ("limits", "qos", "safe", "all")):
        return []
    user = pwd.getpwuid(os.geteuid()).pw_name
    associations = _ask("assoc", f"user={user}", _ASSOCIATION)
    account = settings.account
    if account is None:
        users = _ask("user", user, ("User", "DefaultAccount"))  # the name tells rows from a site's own words
        account = next((row["DefaultAccount"] for row in users if row["User"] == user), None)
    ours = [row for row in associations if row["Account"] == account]
    qos = settings.qos or next((row["DefaultQOS"] for row in ours if row["DefaultQOS"]), "normal")
    rows = _ask("qos", f"name={qos}", _QOS)
    return [*((f"account {account}", row) for row in ours), *((f"QOS {row['Name']}", row) for row in rows)]


def cap_lines(whose: str, caps: Mapping[str, str], settings: ClusterSettings) -> Iterator[Line]:
    """One line for each cap that is set.

    Args:
        whose: the account or the QOS.
        caps: by sacctmgr's names; one that is not set is empty.
        settings: whose time limit is compared.
    """
    for name, meaning in _MEANINGS.items():
        value = caps.get(name, "")
        if not value:
            continue
        what = f"{whose}: at most {value} {meaning} ({name})"
        if name == "MaxWall" and 0 < minutes(value) < settings.default_minutes:
            yield "fail", f"{what}, {settings.default_minutes} min are wanted", "lower cluster.time_limit"
        else:
            yield "ok", what, ""


def read_rows(text: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """Read an answer to `sacctmgr -nP show ... format=FIELDS`."""
    lines = (line.split("|") for line in text.splitlines())
    return [dict(zip(fields, values, strict=True)) for values in lines if len(values) == len(fields)]


def _ask(kind: str, which: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    outcome = run(["sacctmgr", "-nP", "show", kind, which, f"format={','.join(fields)}"])
    return read_rows(outcome.stdout, fields) if outcome.ok else []
