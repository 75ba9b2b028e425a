"""What of the environment reaches Slurm's clients, and what is said of the rest."""

from __future__ import annotations

from slurm.client.environment import client_environment, not_followed

SITE = {
    "SLURM_CONF": "/etc/slurm.conf",
    "SLURM_JWT": "secret",
    "SLURM_ROOT": "/opt/slurm",
    "HOME": "/users/u",
    "SLURM_CLUSTERS": "far",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_TIME_FORMAT": "relative",
    "SBATCH_PARTITION": "debug",
    "SBATCH_RESERVATION": "course",
    "SQUEUE_USERS": "other",
    "SACCT_FORMAT": "jobid",
    "SCANCEL_STATE": "PENDING",
}


def test_what_steers_a_client_is_left_out_and_what_finds_the_cluster_stays() -> None:
    """Also the token that some sites ask for, and where Slurm is installed, which wrappers read."""
    assert sorted(client_environment(SITE)) == ["HOME", "SLURM_CONF", "SLURM_JWT", "SLURM_ROOT"]


def test_inside_a_job_what_slurm_has_set_is_left_out_too() -> None:
    """An enclosing job's memory and CPU variables would contradict the array's options."""
    inside = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "10", "PMI_RANK": "0", "SLURMD_NODENAME": "n1"}
    assert client_environment({**inside, "SLURM_CONF": "/c", "HOME": "/h"}) == {
        "SLURM_CONF": "/c",
        "HOME": "/h",
    }


def test_each_variable_that_is_not_followed_is_named_with_its_key() -> None:
    """What is kept is not, least of all a token."""
    said = {what.split()[1].partition("=")[0]: hint for _, what, hint in not_followed(SITE)}
    left_out = SITE.keys() - client_environment(SITE).keys()
    assert said.keys() == left_out
    assert "cluster.partition=debug" in said["SBATCH_PARTITION"]
    assert "cluster.extra" in said["SBATCH_RESERVATION"]
    assert "environment of this command" in said["SLURM_EXPORT_ENV"]


def test_a_jobs_own_variables_are_not_news() -> None:
    """Slurm sets them in every job; what the site has set for sbatch is named there too."""
    inside = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "10", "SBATCH_QOS": "long"}
    assert [what for _, what, _ in not_followed(inside)] == ["environment: SBATCH_QOS=long is not followed"]
