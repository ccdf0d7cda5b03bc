"""From a "simulate" data spec to a simulated benchmark, and its files."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from dash_hpc.data.prior import Prior
from dash_hpc.data.simulator.generate import random_network
from dash_hpc.data.simulator.kinetics import System, draw_kinetics
from dash_hpc.data.simulator.sample import InputModel, draw_input_model, draw_start, trajectories
from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.data.trajectories import trajectories_bytes
from dash_hpc.errors import StoreError, UsageError
from dash_hpc.rng import stream

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SimulatedSystem", "simulate", "write"]

_SIZES = {"genes": 2, "regulators": 1, "edges": 1, "trajectories": 1, "test_trajectories": 0, "seed": 0}


@dataclass(frozen=True, eq=False)
class SimulatedSystem:
    """A simulated benchmark: expression, the network behind it, and the equations.

    Attributes
    ----------
    train_val : TimeCourse
        Noiseless trajectories to train and validate on.
    test : TimeCourse or None
        Noiseless trajectories for the test; None when none were asked for.
    truth : scipy.sparse.csr_array, float64, (G, G)
        Regulator × target, +1 activating, -1 repressing.
    prior_clean : Prior
        The truth as prior knowledge, uncorrupted.
    edges : pandas.DataFrame
        A new one each time; columns ``from, to, weight, activation, EC50, n``.
    input_genes : tuple of str
        Genes without regulators; constant in time; the first in the gene order.
    system : System
        The differential equations.
    input_model : InputModel
        Laws that the start states were drawn from.
    spec : dict
        The keys of the spec that were used.
    """

    train_val: TimeCourse
    test: TimeCourse | None
    truth: sparse.csr_array
    prior_clean: Prior
    input_genes: tuple[str, ...]
    system: System
    input_model: InputModel
    spec: dict[str, Any]

    @property
    def edges(self) -> pd.DataFrame:
        return self.system.network.table()


def _checked(spec: Mapping[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for key, least in _SIZES.items():
        if key not in spec:
            raise UsageError(f"data.{key} is missing from the simulation spec; give a whole number")
        value = spec[key]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise UsageError(f"data.{key} = {value!r}: must be a whole number of {least} or more")
        clean[key] = int(value)
    if "times" not in spec:
        raise UsageError("data.times is missing from the simulation spec; give at least two time stamps")
    times = spec["times"]
    if isinstance(times, (str, bytes)) or not hasattr(times, "__len__") or len(times) < 2:
        raise UsageError(f"data.times = {times!r}: give a list of at least two time stamps")
    if not all(isinstance(t, (int, float, np.integer, np.floating)) and not isinstance(t, bool) for t in times):
        raise UsageError(f"data.times = {list(times)!r}: every time stamp must be a number")
    clean["times"] = [float(t) for t in times]
    if not all(math.isfinite(t) for t in clean["times"]):
        raise UsageError(f"data.times = {list(times)!r}: every time stamp must be finite")
    for before, after in zip(clean["times"], clean["times"][1:], strict=False):
        if after <= before:
            raise UsageError(f"data.times: {after:g} follows {before:g}; time stamps must increase, without repeats")
    return clean


def simulate(spec: Mapping[str, Any]) -> SimulatedSystem:
    """Simulate a gene-regulation benchmark (SimulatorGRN, Bhuva et al. 2019, as used by PHOENIX and DASH).

    The network is drawn by :func:`random_network`, "linear-like" Hill kinetics by :func:`draw_kinetics`; every sample
    gets its own input levels and start state and is integrated to a tolerance of 1e-9 per step.

    Parameters
    ----------
    spec : mapping
        ``genes``, ``regulators``, ``edges``, ``trajectories``, ``test_trajectories`` (0 allowed), ``times``
        (increasing) and ``seed``; other keys are not read. Each trajectory has its own random stream: trajectory k is
        the same however many are asked for.

    Returns
    -------
    SimulatedSystem
        The same spec gives the same bytes on the same processor type; processors of another type may differ in the
        last bits of expression values.

    Raises
    ------
    UsageError
        Missing key, value out of range, or sizes for which no network exists.
    """
    clean = _checked(spec)
    seed, times = clean["seed"], np.array(clean["times"])
    network = random_network(clean["genes"], clean["regulators"], clean["edges"], stream(seed, "simulator", "graph"))
    network = draw_kinetics(network, stream(seed, "simulator", "kinetics"))
    system = System(network)
    is_input = network.is_input
    model = draw_input_model(is_input, stream(seed, "simulator", "input-model"))

    def course(part: str, count: int) -> TimeCourse:
        starts = [draw_start(model, stream(seed, "simulator", "start", part, k)) for k in range(count)]
        values = trajectories(system, np.stack(starts), times)
        return TimeCourse.from_arrays(list(values), [times] * count, network.genes)

    truth = network.signed_matrix()
    return SimulatedSystem(
        train_val=course("train", clean["trajectories"]),
        test=course("test", clean["test_trajectories"]) if clean["test_trajectories"] else None,
        truth=truth,
        prior_clean=Prior.from_arrays(truth, genes=network.genes),
        input_genes=tuple(gene for gene, constant in zip(network.genes, is_input, strict=True) if constant),
        system=system,
        input_model=model,
        spec=clean,
    )


def write(system: SimulatedSystem, folder: str | Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Write a simulated benchmark in the published CSV layouts.

    ``expression_train.csv``, ``expression_test.csv`` (when there is a test set), ``gene_names.csv``,
    ``edge_properties.csv``, ``edge_prior_matrix.csv`` (clean, regulator × target), ``input_models.csv`` and
    ``simulation.json`` (the spec). Each file appears whole or not at all.

    Parameters
    ----------
    system : SimulatedSystem
    folder : path
        Made when it does not exist.
    overwrite : bool, default False
        Replace files of these names; an ``expression_test.csv`` is removed when there is no test set.

    Returns
    -------
    dict
        File name -> path.

    Raises
    ------
    UsageError
        The folder cannot be written, or holds one of the files and ``overwrite`` is False.
    """
    import pandas as pd

    from dash_hpc.store.publish import (
        make_folder,
        publish_bytes,
        remove_file,
    )  # here: simulating does without the store

    folder = Path(folder)
    genes = system.train_val.genes
    model = system.input_model
    names = ["expression_train.csv", "gene_names.csv", "edge_properties.csv", "edge_prior_matrix.csv"]
    names += ["input_models.csv", "simulation.json"]
    if system.test is not None:
        names.insert(1, "expression_test.csv")
    if not overwrite:
        for name in {**dict.fromkeys(names), "expression_test.csv": None}:
            if (folder / name).exists():
                raise UsageError(f"{folder / name} exists; choose another folder or ask to overwrite")
    edges = system.edges
    edges["activation"] = np.where(edges["activation"], "TRUE", "FALSE")
    inputs = pd.DataFrame({"gene": [genes[gene] for gene in model.inputs], "mean": model.mean, "sd": model.sd})
    matrix = io.BytesIO()
    np.savetxt(matrix, system.truth.toarray().astype(np.int64), fmt="%d", delimiter=",")
    files = {
        "expression_train.csv": _series(system.train_val),
        "gene_names.csv": "\n".join(['"x"', *(f'"{gene}"' for gene in genes), ""]).encode(),
        "edge_properties.csv": _table(edges),
        "edge_prior_matrix.csv": matrix.getvalue(),
        "input_models.csv": _table(inputs),
        "simulation.json": (json.dumps(system.spec) + "\n").encode(),
    }
    if system.test is not None:
        files["expression_test.csv"] = _series(system.test)
    try:
        make_folder(folder)
        for name in names:
            publish_bytes(folder / name, files[name], make_parents=False)
        if system.test is None:  # one of an earlier simulation would belong to another network
            remove_file(folder / "expression_test.csv")
    except StoreError as error:
        raise UsageError(str(error)) from error
    return {name: folder / name for name in names}


def _series(course: TimeCourse) -> bytes:
    return trajectories_bytes([(t.times, t.values) for t in course.trajectories])


def _table(frame: pd.DataFrame) -> bytes:
    text: str = frame.to_csv(index=False, float_format="%.17g", lineterminator="\n")
    return text.encode()
