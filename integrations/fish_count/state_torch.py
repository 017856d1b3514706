"""What ``train_torch`` keeps of its epochs: the states to go on from, the best one, the rows of figures."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from .problem import Problem

History = list[dict[str, float]]  # a row of figures per epoch


def epochs_since_best(history: History) -> int:
    """How many epochs have passed since the one with the least val_mae."""
    errors = [row["val_mae"] for row in history]
    return len(errors) - 1 - errors.index(min(errors)) if errors else 0


def save(out: Path, history: History, **parts: Any) -> None:
    """Writes the state of the network and the optimizer into last.pt, and model.pt if this epoch is the best so far.

    Adds the last row of `history` to history.csv.
    """
    state = {name: part.state_dict() for name, part in parts.items()}
    for name in ["last.pt"] if epochs_since_best(history) else ["model.pt", "last.pt"]:
        torch.save(state, out / "unfinished")
        os.replace(out / "unfinished", out / name)  # so that neither is ever half a file
    with open(out / "history.csv", "a", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *sorted(history[-1].keys() - {"epoch"})])
        if len(history) == 1:
            writer.writeheader()
        writer.writerow(history[-1])


def load(path: Path, **parts: Any) -> None:
    """Gives the network, and the optimizer, the state that is saved there."""
    try:
        state = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise Problem(f"{path} cannot be loaded: {error}: train anew into another --out") from None
