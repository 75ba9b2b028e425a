"""What two runs of one trial may differ in."""

TIMES = {
    "train_seconds",
    "train_cpu_seconds",
    "eval_seconds",
    "start_seconds",
    "tokens_per_second",
    "peak_memory_gib",
}
