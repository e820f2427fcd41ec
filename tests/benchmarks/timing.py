"""Fair timing of rivals on a shared machine."""

import time

import numpy as np


def alternating_medians(*tasks, rounds=9, clock=time.process_time):
    """Median seconds of each task, timed in turn so that the machine's load is shared.

    They are the processor's, or those of another clock of `time`.
    """
    times = np.empty((rounds, len(tasks)))
    for i in range(rounds):
        for j, task in enumerate(tasks):
            begun = clock()
            task()
            times[i, j] = clock() - begun
    return np.median(times, axis=0)
