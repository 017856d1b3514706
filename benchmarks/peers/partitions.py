"""How research systems divide a budget among the forms of an item: with one mean size and one mean cost for all items.

Each returns the bytes of the budget for what is kept after each stage. HyCache's integer programme is written down
here as its paper states it; Seneca's model is called in a checkout of its artifact.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.measure import Absent

SENECA = Path("utility", "model_driven_partition.py")
SENECA_URL = "https://github.com/swiftomkar/seneca-fast26-pytorch"
GPU_PER_S = (50, 100, 200, 400, 1_000, 4_000, 1_000_000)  # items that a model takes per second
Model = Callable[[dict[str, Any]], list[float]]  # from a description to the shares of encoded, decoded, augmented
MEMORY_BYTES_PER_S = 10e9  # a cache in this process's memory, and no network before it


class Means(NamedTuple):
    """What the systems are told of a data set. nbytes, cost_s: the means of each stage; items: how many there are."""

    items: int
    nbytes: list[float]
    cost_s: list[float]


def hycache(means: Means, budget: float) -> list[float]:
    """Return the solution of equations 2 to 5 of HyCache (Jha et al., USENIX ATC 2025), without a budget on disk.

    Its variables are the items kept after each stage in memory and on disk: four for two stages. Raises Absent without
    scipy.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError:
        raise Absent("scipy is not installed") from None
    saved_s, nbytes = np.cumsum(means.cost_s), np.array(means.nbytes)
    none, each = np.zeros_like(nbytes), np.ones(2 * len(nbytes))
    fits = LinearConstraint(np.stack([np.append(nbytes, none), np.append(none, nbytes)]), -np.inf, [budget, 0.0])
    once = LinearConstraint(each[None], -np.inf, means.items)
    solved = milp(-np.append(saved_s, saved_s), constraints=[fits, once], integrality=each, bounds=Bounds(0, np.inf))
    if solved.x is None:
        raise RuntimeError(f"HyCache's programme was not solved: {solved.message}")
    in_memory = np.round(solved.x[: len(nbytes)]) + 0.0  # no negative zero
    return [float(part) for part in in_memory * nbytes]


def seneca_model(checkout: str | None) -> Model:
    """Return the function that Seneca (Desai et al., FAST 2026) divides a cache with; raise Absent if it is not there.

    checkout: the folder of its artifact.
    """
    if checkout is None:
        raise Absent(f"not run: give --seneca a checkout of {SENECA_URL}")
    path = Path(checkout, SENECA)
    spec = importlib.util.spec_from_file_location("model_driven_partition", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Absent(f"not run: there is no {SENECA} in {checkout}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: Model = module.model_driven_partition
    return model


def seneca(model: Model, means: Means, budget: float, gpu_per_s: float) -> list[float]:
    """Return how Seneca's model divides the budget, if a model in training takes `gpu_per_s` items per second.

    Its encoded form is what the first stage returns, its decoded form what the last does. Nothing is augmented, so
    what it would keep augmented is kept decoded.
    """
    encoded, last = means.nbytes[0], means.nbytes[-1]
    compute_s = sum(means.cost_s[1:])
    shares = model(
        {
            "tuning": 1,
            "s_cache": budget,
            "ds": encoded * (means.items + 0.5),
            "s_data": encoded,
            "s_data_mem": encoded,
            "m": last / encoded,
            "b_storage": encoded / means.cost_s[0],
            "b_storage_nw": encoded / means.cost_s[0],
            "b_cache": MEMORY_BYTES_PER_S,
            "network": [MEMORY_BYTES_PER_S],
            "pcie": [MEMORY_BYTES_PER_S],
            "t_a": [1e6],
            "t_da": [1 / compute_s],
            "t_gpu": [gpu_per_s],
        }
    )
    divided = [0.0] * len(means.nbytes)
    divided[0] += shares[0] * budget
    divided[-1] += (shares[1] + shares[2]) * budget
    return divided
