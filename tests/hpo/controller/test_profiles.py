"""The site profiles of conf/cluster: each composes as it is, and says what the site should be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.controller.groups import CONF

# what the script asks for, beside what conf/cluster/base.yaml says
PROFILES = {
    "v100_16gb": ["--gres=gpu:v100:1", "--cpus-per-task=4", "--mem=32768M", "--time=240"],
    "v100_32gb": ["--gres=gpu:v100:1", "--cpus-per-task=4", "--mem=49152M", "--time=240"],
    "preemptable": ["--gres=gpu:1", "--cpus-per-task=4", "--mem=32768M", "--time=240"],
    "no_accounting": ["--gres=gpu:1", "--cpus-per-task=1", "--mem=16384M", "--array=0-5%4"],
}
GIVEN = {"auto", "base", "local", "slurm", "simulated"}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_needs_nothing_filled_in(name: str, tmp_path: Path) -> None:
    """It composes without a problem, names no partition, account or QOS, and asks to be requeued."""
    overrides = ["experiment=none", f"cluster={name}", "trainer=synthetic", f"study.root={tmp_path}"]
    raw, problems = compose_config(overrides)
    parts = assemble(raw, problems)
    text = parts.executor.preview(
        name="array", folder=str(tmp_path), target="jobs.run_synthetic:main", arguments=[["1"]] * 6
    )
    assert [option for option in PROFILES[name] if f"#SBATCH {option}" not in text] == []
    assert [word for word in ("partition", "account", "qos") if f"#SBATCH --{word}" in text] == []
    assert "#SBATCH --requeue" in text


def test_every_profile_is_tested_and_told_of() -> None:
    """None is left out here, or in the table of docs/cluster.md; each says what to fill in."""
    files = {path.stem: path.read_text() for path in (CONF / "cluster").glob("*.yaml")}
    assert set(files) - GIVEN == set(PROFILES)
    page = (CONF.parent / "docs" / "cluster.md").read_text()
    assert [name for name in PROFILES if f"`{name}`" not in page] == []
    assert [name for name in PROFILES if "fill in" not in files[name]] == []
