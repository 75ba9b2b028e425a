"""A cluster that is only computed: tasks on a virtual clock, with queue, preemptions and failures."""
