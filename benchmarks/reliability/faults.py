"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.reliability import (
    faults_controller,
    faults_files,
    faults_scheduler,
    faults_site,
    faults_tasks,
)
from benchmarks.reliability.scene import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for module in (faults_controller, faults_tasks, faults_scheduler, faults_files, faults_site)
    for fault in module.FAULTS
}
