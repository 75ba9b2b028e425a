"""The metrics that trials report, declared once: for who promises them and for who measures. Loads no torch.

What tasks of lm-eval report beside them is in `jobs.recipes.task_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from hpo.records import Metric

EVAL_LOSS = "eval_loss"
# with the steps; at a rung these are extrapolated
GROWING = frozenset({"train_seconds", "train_cpu_seconds", "tokens", "skipped_steps", "gpu_energy_wh"})
# what a fine-tune knows of itself at a rung
EARLY = (
    *(EVAL_LOSS, "train_loss", "train_seconds", "train_cpu_seconds", "tokens", "tokens_per_second"),
    *("peak_memory_gib", "trainable_parameters", "skipped_steps", "gpu_energy_wh"),
)
PLAIN_SUFFIX = "_16bit"  # of what is measured on the base model that is not quantised


class MetricGroup:
    """Metrics that are measured together; a field is a metric, and None is left out."""

    def measured(self) -> dict[str, Metric]:
        """Name -> value."""
        return {name: metric for name, metric in vars(self).items() if metric is not None}


def names(group: type[TrainingMetrics | CardMetrics | DecodeMetrics | SyntheticMetrics]) -> tuple[str, ...]:
    """The names of the metrics of a group."""
    return tuple(metric.name for metric in fields(group))


@dataclass(frozen=True)
class TrainingMetrics(MetricGroup):
    """Of every QLoRA trial."""

    eval_loss: Metric
    train_loss: Metric
    train_seconds: Metric
    train_cpu_seconds: Metric
    eval_seconds: Metric
    start_seconds: Metric
    tokens: Metric
    tokens_per_second: Metric
    peak_memory_gib: Metric
    trainable_parameters: Metric
    adapter_bytes: Metric
    skipped_steps: Metric


@dataclass(frozen=True)
class CardMetrics(MetricGroup):
    """Of a QLoRA trial on a card, as far as it tells."""

    gpu_memory_gib: Metric | None = None
    foretold_memory_gib: Metric | None = None
    training_memory_gib: Metric | None = None
    gpu_energy_wh: Metric | None = None


@dataclass(frozen=True)
class DecodeMetrics(MetricGroup):
    """Of every trial of decoding."""

    seconds_per_document: Metric
    eval_seconds: Metric
    start_seconds: Metric
    peak_memory_gib: Metric


@dataclass(frozen=True)
class SyntheticMetrics(MetricGroup):
    """Of every synthetic trial."""

    eval_loss: Metric
    train_loss: Metric
    train_seconds: Metric
    start_seconds: Metric
