"""A program for test_spread.py: twenty meta-updates in float64, on so many devices, or as one of several processes.

    python -m tests.spreading KIND FOLDER [--on DEVICES ...] [--resumed CHECKPOINT:DEVICES ...] [--coordinator ...]

A run "8 in 1", devices in processes, leaves eta, metrics and facts about its program in a folder of that name in
FOLDER, and a checkpoint of its first half. Populations are of sizes that few numbers divide.
"""

import argparse
import os
from functools import cache, partial
from pathlib import Path

import jax

from metaobj.common.processes import Cluster, agreed, find_cluster, join, leave

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--on", nargs="*", type=int, default=[])
    parser.add_argument("--resumed", nargs="*", default=[])
    parser.add_argument("--coordinator")
    parser.add_argument("--process", type=int)
    parser.add_argument("--processes", type=int)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    cluster = find_cluster(Cluster(given.coordinator, given.process, given.processes), os.environ)
    if cluster is not None:
        join(cluster)
    from tests.spread import go, trainer_of  # environments use JAX when they are imported

    trainers = cache(partial(trainer_of, given.kind))
    for devices in given.on:
        go(trainers(devices), given.folder)
    for name in given.resumed:
        begin, _, number = name.partition(":")
        go(trainers(int(number)), given.folder, begin)
    with agreed():
        pass
    leave()
