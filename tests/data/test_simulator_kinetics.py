"""Hill activation, fuzzy logic and the equations of the simulator."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from dash_hpc.data import TimeCourse
from dash_hpc.data.simulator import (
    FAMILIES,
    Add,
    And,
    Expression,
    Leaf,
    Network,
    Not,
    Or,
    System,
    build_expression,
    build_expressions,
    draw_kinetics,
    hill,
    integrate,
    random_network,
    read_edge_table,
    trajectories,
)
from dash_hpc.data.simulator.logic import Program
from dash_hpc.errors import DataError, SolveError, UsageError

# --- Hill activation


@settings(deadline=None)
@given(st.floats(0.2, 0.8), st.floats(1.01, 6.0))
def test_hill_identities(ec50: float, exponent: float) -> None:
    if abs(ec50**exponent - 0.5) < 1e-6:
        return
    assert hill(0.0, ec50, exponent) == 0.0
    assert hill(ec50, ec50, exponent) == pytest.approx(0.5, abs=1e-9)
    assert hill(1.0, ec50, exponent) == pytest.approx(1.0, abs=1e-9)
    assert np.all(np.diff(hill(np.linspace(0, 1, 101), ec50, exponent)) > 0)


def test_hill_at_one_is_exact_for_linear_like_parameters() -> None:
    rng = np.random.default_rng(0)
    value = hill(1.0, rng.uniform(0.4, 0.6, 1000), rng.uniform(1.39, 1.8, 1000))
    np.testing.assert_allclose(value, 1.0, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("ec50", "exponent"), [(0.5, 1.0), (0.0, 1.5), (1.0, 1.5), (0.5, 0.0), (np.nan, 1.5)])
def test_hill_refuses_undefined_parameters(ec50: float, exponent: float) -> None:
    with pytest.raises(DataError):
        hill(0.3, ec50, exponent)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_drawn_kinetics_lie_in_their_family_and_below_the_limit(family: str) -> None:
    network = draw_kinetics(random_network(350, 97, 2000, np.random.default_rng(0)), np.random.default_rng(1), family)
    low, high, n_low, n_high = FAMILIES[family]
    assert low <= network.ec50.min() <= network.ec50.max() <= high
    assert n_low <= network.exponent.min() <= network.exponent.max() <= n_high
    assert (network.ec50 < 2.0 ** (-1.0 / network.exponent)).all()


def test_unknown_family_is_refused() -> None:
    with pytest.raises(UsageError, match="'steep' is unknown; choose one of linear-like"):
        draw_kinetics(random_network(5, 2, 5, np.random.default_rng(0)), np.random.default_rng(0), "steep")


# --- fuzzy logic


def evaluate(expression: Expression, leaves: np.ndarray) -> np.ndarray:
    program = Program({0: expression}, leaves.shape[0])
    registers = np.empty((program.n_registers, leaves.shape[1]))
    registers[: leaves.shape[0]] = leaves
    return program.run(registers)[0]


A, B, C = Leaf(0), Leaf(1), Leaf(2)
CORNERS = np.array(list(itertools.product([0.0, 1.0], repeat=3))).T


def test_truth_tables() -> None:
    a, b, c = CORNERS.astype(bool)
    np.testing.assert_array_equal(evaluate(And((A, B)), CORNERS), a & b)
    np.testing.assert_array_equal(evaluate(Or((A, B, C)), CORNERS), a | b | c)
    np.testing.assert_array_equal(evaluate(Not(A), CORNERS), ~a)
    np.testing.assert_array_equal(evaluate(And((A, Not(Or((B, C))))), CORNERS), a & ~(b | c))


def test_values_between_the_corners() -> None:
    leaves = np.random.default_rng(0).random((3, 7))
    a, b, c = leaves
    np.testing.assert_allclose(evaluate(And((A, B, C)), leaves), a * b * c, rtol=1e-15)
    np.testing.assert_allclose(evaluate(Or((A, B)), leaves), a + b - a * b, rtol=1e-15)
    np.testing.assert_allclose(evaluate(Add((A, Not(B), C)), leaves), (a + 1 - b + c) / 3, rtol=1e-15)
    np.testing.assert_array_equal(evaluate(A, leaves), a)


def test_rule_with_an_activating_leader() -> None:
    built = build_expression([4, 7, 8, 9, 11], [True, True, False, True, False], [2, 9, 3, 9, 1])
    assert built == And((Leaf(7), And((Leaf(4), Leaf(9))), Or((Not(Leaf(8)), Not(Leaf(11))))))


def test_rule_with_a_repressing_leader() -> None:
    built = build_expression([4, 7, 8, 9], [True, False, True, False], [2, 9, 3, 5])
    assert built == Or((Not(Leaf(7)), And((Leaf(4), Leaf(8))), Not(Leaf(9))))


def test_rule_without_companions_and_with_every_connective_flipped() -> None:
    assert build_expression([3], [True], [1]) == Leaf(3)
    assert build_expression([3], [False], [1]) == Not(Leaf(3))
    rng = np.random.default_rng(0)
    flipped = build_expression([0, 1, 2], [True, True, True], [3, 1, 1], flip=1.0, rng=rng)
    assert flipped == And((Leaf(0), Or((Leaf(1), Leaf(2)))))
    with pytest.raises(UsageError, match="needs rng"):
        build_expression([0, 1, 2], [True] * 3, [3, 1, 1], flip=0.1)
    with pytest.raises(UsageError, match="without regulators"):
        build_expression([], [], [])


# --- the equations


def pair(activation: bool = True) -> Network:
    return Network.from_edges(["a", "b"], [0], [1], activation, ec50=0.45, exponent=1.6)


def test_single_activator_has_the_analytic_solution() -> None:
    times = np.array([0.0, 0.5, 2.0, 9.0])
    start = np.array([[0.3, 0.9], [0.8, 0.1], [0.0, 1.0]])
    level = hill(start[:, :1], 0.45, 1.6)
    for activation, goal in ((True, level), (False, 1 - level)):
        got = trajectories(System(pair(activation)), start, times)
        np.testing.assert_array_equal(got[:, :, 0], np.repeat(start[:, :1], 4, axis=1))
        np.testing.assert_allclose(got[:, :, 1], goal + (start[:, 1:] - goal) * np.exp(-times), rtol=0, atol=1e-9)


def test_rates_scale_the_solution() -> None:
    system = System(pair(), max_rate=0.8, degradation=0.5, tau=[1.0, 2.0])
    got = trajectories(system, np.array([[0.6, 0.2]]), np.array([0.0, 3.0]))[0, 1, 1]
    goal = 0.8 * hill(0.6, 0.45, 1.6) / 0.5
    assert got == pytest.approx(goal + (0.2 - goal) * np.exp(-3.0 * 0.5 / 2.0), abs=1e-9)


def test_chain_reaches_its_steady_state() -> None:
    chain = Network.from_edges(["a", "b", "c"], [0, 1], [1, 2], [True, False], ec50=0.5, exponent=1.5)
    end = trajectories(System(chain), np.array([[0.7, 0.2, 0.1]]), np.array([0.0, 60.0]))[0, 1]
    b = hill(0.7, 0.5, 1.5)
    np.testing.assert_allclose(end, [0.7, b, 1 - hill(b, 0.5, 1.5)], rtol=0, atol=1e-8)
    np.testing.assert_allclose(System(chain).derivative(end), 0.0, atol=1e-8)


def test_unit_cube_is_invariant() -> None:
    network = draw_kinetics(random_network(40, 15, 120, np.random.default_rng(2)), np.random.default_rng(3))
    system = System(network)
    rng = np.random.default_rng(4)
    corners = rng.integers(0, 2, (200, 40)).astype(np.float64)
    slope = system.derivative(corners)
    # On every face the flow points inwards or along it.
    assert (slope[corners == 0] >= 0).all()
    assert (slope[corners == 1] <= 1e-15).all()
    values = trajectories(system, corners[:50], np.array([0.0, 0.3, 1.0, 4.0]))
    assert values.min() >= -1e-9
    assert values.max() <= 1 + 1e-9


def test_self_regulated_gene_moves_and_weights_count() -> None:
    network = Network.from_edges(["a", "b"], [0, 1], [1, 1], [True, True], weight=[0.5, 1.0])
    x = np.array([0.6, 0.3])
    expected = 0.5 * hill(0.6, 0.5, 1.39) * hill(0.3, 0.5, 1.39) - 0.3
    np.testing.assert_allclose(System(network).derivative(x), [0.0, expected], atol=1e-15)


def test_bad_systems_are_refused() -> None:
    with pytest.raises(DataError, match="tau of gene b is 0"):
        System(pair(), tau=[1.0, 0.0])
    with pytest.raises(DataError, match=r"degradation of gene a is 1\.5"):
        System(pair(), degradation=1.5)
    with pytest.raises(DataError, match="max_rate has shape"):
        System(pair(), max_rate=[1.0, 1.0, 1.0])
    with pytest.raises(DataError, match="gene b has regulators but no expression"):
        System(pair(), {})
    with pytest.raises(UsageError, match="names edge 5"):
        System(pair(), {1: Leaf(5)})
    with pytest.raises(UsageError, match=r"expected \(samples, 2\)"):
        System(pair()).derivative(np.zeros((4, 3)))


# --- integration


def test_integration_agrees_with_scipy() -> None:
    network = draw_kinetics(random_network(25, 8, 50, np.random.default_rng(0)), np.random.default_rng(1))
    system = System(network)
    start = np.random.default_rng(2).random((3, 25))
    times = np.array([0.0, 2.0, 3.0, 7.0, 9.0])
    got = trajectories(system, start, times)
    for k in range(3):
        exact = solve_ivp(lambda _, x: system.derivative(x), (0, 9), start[k], "LSODA", times, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(got[k], exact.y.T, rtol=0, atol=1e-8)


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    network = draw_kinetics(random_network(25, 8, 50, np.random.default_rng(0)), np.random.default_rng(1))
    start = np.random.default_rng(2).random((131, 25))  # more than one block, with a remainder
    times = np.array([0.0, 2.0, 5.0])
    together = trajectories(System(network), start, times)
    for k in (0, 1, 63, 64, 129, 130):
        np.testing.assert_array_equal(trajectories(System(network), start[k : k + 1], times)[0], together[k])


def test_tolerance_controls_the_error() -> None:
    times = np.array([0.0, 5.0])
    exact = np.cos(5.0)

    def oscillator(x: np.ndarray) -> np.ndarray:
        return np.stack([x[1], -x[0]])

    errors = [
        abs(integrate(oscillator, np.array([[1.0, 0.0]]), times, rtol=t, atol=t)[0, 1, 0] - exact)
        for t in (1e-5, 1e-12)
    ]
    assert errors[0] < 1e-3
    assert errors[1] < 1e-10


def test_a_blow_up_is_named() -> None:
    with pytest.raises(SolveError, match="sample 1"):
        integrate(lambda x: x * x, np.array([[0.1], [1.0]]), np.array([0.0, 3.0]))


@pytest.mark.parametrize("times", [[0.0, 0.0], [1.0, 0.5], [0.0, np.nan], [[0.0, 1.0]]])
def test_bad_times_are_refused(times: list[float]) -> None:
    with pytest.raises(UsageError):
        integrate(lambda x: -x, np.ones((1, 1)), np.array(times))


# --- the published SIM350 system

#: Targets whose published equation does not follow from the edge table: their leading regulator is not among the
#: 350 genes, and only its two groups are left, joined by its connective.
LEADERLESS = {"STE6": And, "MET17": And, "CYC1": Or, "ILV2": And, "STE2": And, "BAR1": And}


def published_activation(x: float, ec50: float, n: float) -> float:
    scale = (ec50**n - 1) / (2 * ec50**n - 1)
    return scale * x**n / (scale - 1 + x**n)


@pytest.fixture(scope="module")
def sim350(data_root: Path) -> tuple[Path, System]:
    folder = data_root / "sim350"
    network = read_edge_table(folder / "edge_properties.csv", pd.read_csv(folder / "gene_names.csv")["x"].tolist())
    expressions = build_expressions(network)
    for gene, join in LEADERLESS.items():
        target = network.genes.index(gene)
        edges = np.flatnonzero(network.target == target)
        activators = tuple(Leaf(int(k)) for k in edges if network.activation[k])
        repressors = tuple(Not(Leaf(int(k))) for k in edges if not network.activation[k])
        expressions[target] = join((And(activators), Or(repressors)))
    return folder, System(network, expressions)


def test_sim350_sizes(sim350: tuple[Path, System]) -> None:
    network = sim350[1].network
    assert (network.n_genes, network.n_edges, network.activation.sum()) == (350, 550, 374)
    assert network.is_input[:73].all()
    assert network.is_input.sum() == 73


def test_rule_rebuilds_the_published_equations(sim350: tuple[Path, System]) -> None:
    folder, system = sim350
    genes = system.network.genes
    published = pd.read_csv(folder / "ode_system_functions.csv", keep_default_na=False)
    from_rule = System(system.network)  # the rule alone, without the exceptions
    unlike = set()
    for x in np.random.default_rng(0).random((3, 350)):
        state: dict[str, object] = dict(zip(genes, x, strict=True))
        slope, slope_from_rule = system.derivative(x), from_rule.derivative(x)
        for gene, equation in zip(published["node"], published["eqn"], strict=True):
            k = genes.index(gene)
            expected = 0.0
            if equation != "input gene":
                expected = eval(equation, {"__builtins__": {}, "fAct": published_activation}, state)
            assert slope[k] == pytest.approx(expected, abs=1e-13)
            if abs(slope_from_rule[k] - expected) > 1e-13:
                unlike.add(gene)
    assert unlike == set(LEADERLESS)


def test_sim350_replays_the_published_test_trajectories(sim350: tuple[Path, System]) -> None:
    folder, system = sim350
    course = TimeCourse.read_csv(folder / "simu_350genes_10samples_for_testing.csv", folder / "gene_names.csv")
    published = np.stack([t.values for t in course.trajectories])
    replay = trajectories(system, published[:, 0], course.trajectories[0].times)
    assert np.abs(replay - published).max() < 2e-6  # the authors' tolerance; measured 1.30e-6


def test_sim350_replays_the_training_trajectories(sim350: tuple[Path, System]) -> None:
    folder, system = sim350
    course = TimeCourse.read_csv(folder / "sim350_train_150.csv.gz", folder / "gene_names.csv").select(range(12))
    expected = np.stack([t.values for t in course.trajectories])
    replay = trajectories(system, expected[:, 0], course.trajectories[0].times)
    assert np.abs(replay - expected).max() < 1e-8
