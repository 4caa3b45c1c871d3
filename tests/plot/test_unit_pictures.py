"""Pictures of threshold units and their networks, tested for their contents."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from pictures import filled_at, line_of, texts

import fnn
from fnn import classic

COLORS = fnn.plot.COLORS
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("unit", "title"),
    [
        (classic.AND, r"fires where $x_1 + x_2 \geq {2}$"),
        (classic.NOR, None),
        (classic.Unit((-1.0, 0.5), -0.25), r"fires where $- x_1 + 0.5\,x_2 \geq {-0.25}$"),
        (classic.Unit((2, -1), 2), r"fires where $2\,x_1 - x_2 \geq {2}$"),
        (classic.Unit((0.0, 0.0), 1.0), r"fires where $0\,x_1 + 0\,x_2 \geq {1}$"),
    ],
)
def test_unit_of_two_inputs(unit, title):
    ax = fnn.plot.unit(unit)
    if title is not None:
        assert ax.get_title() == title
    corners = {text.get_position(): text.get_text() for text in ax.texts}
    assert corners == {(a, b): str(unit(int(a), int(b))) for a in (0.0, 1.0) for b in (0.0, 1.0)}
    line = line_of(ax)
    assert (line is None) == (not any(unit.weights))
    if line is not None:
        np.testing.assert_allclose(line @ unit.weights, unit.threshold, atol=1e-5)
    # The side that fires is orange, whatever the signs of the weights.
    for place in ((-0.4, -0.35), (-0.4, 1.4), (1.4, -0.45), (1.45, 1.4)):
        fires = np.dot(unit.weights, place) >= unit.threshold
        assert np.argmax(filled_at(ax, place)) == (0 if fires else 2), place
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_unit_of_one_input():
    ax = fnn.plot.unit(classic.NOT)
    assert texts(ax) == ["1", "0"]
    assert ax.get_title() == r"fires where $- x_1 \geq {0}$"
    assert len(ax.get_yticks()) == 0
    np.testing.assert_allclose(line_of(ax)[:, 0], 0, atol=1e-6)


def test_unit_rejects_other_objects():
    hint = "expected a threshold unit of one or two inputs, got 3 weights. fnn.plot.network draws units"
    with pytest.raises(fnn.InputError, match=hint):
        fnn.plot.unit(classic.Unit((1, 1, 1), 2))
    with pytest.raises(fnn.InputError, match=r"unit: expected a threshold unit, such as fnn\.classic\.AND, got 'AND'"):
        fnn.plot.unit("AND")
    for wrong in (((1, np.nan), 1), ((1, 1), np.inf), ((1, 1), (1, 2))):
        with pytest.raises(fnn.InputError, match="unit: expected finite weights and one finite threshold, got Unit"):
            fnn.plot.unit(classic.Unit(*wrong))
    assert not plt.get_fignums()


def kinds(ax):
    patches = ax.patches
    return [[p for p in patches if isinstance(p, kind)] for kind in (Circle, FancyBboxPatch, FancyArrowPatch)]


def corners_of(arrow):
    """The corners of a line, without its head."""
    return arrow.get_path().to_polygons(closed_only=False)[0]


def test_network_of_xor():
    xor = classic.formula("(a or b) and not (a and b)")
    ax = fnn.plot.network(xor)
    units, inputs, arrows = kinds(ax)
    assert len(units) == len(xor.nodes)
    assert len(inputs) == 2
    assert len(arrows) == sum(len(node.inputs) for node in xor.nodes)
    assert ax.get_title() == xor.text
    written = texts(ax)
    for node in xor.nodes:
        assert node.name in written
    assert sorted(t for t in written if t[0] == "≥") == sorted(f"≥ {node.unit.threshold:g}" for node in xor.nodes)
    weights = [w for node in xor.nodes for w in node.unit.weights]
    assert sorted(t for t in written if t[0] in f"+{MINUS}") == sorted(f"{w:+g}".replace("-", MINUS) for w in weights)
    dashed = [arrow for arrow in arrows if arrow.get_linestyle() != "-" and arrow.get_linestyle() != "solid"]
    assert len(dashed) == sum(w < 0 for w in weights)
    assert {to_hex(arrow.get_edgecolor()) for arrow in dashed} == {COLORS[1].lower()}
    # The result is on the right, in a heavier circle, and nothing overlaps.
    last = max(units, key=lambda circle: circle.center[0])
    assert last.get_linewidth() == max(circle.get_linewidth() for circle in units) > units[0].get_linewidth()
    centers = np.array([circle.center for circle in units])
    gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)[~np.eye(len(units), dtype=bool)]
    assert gaps.min() > 4 * units[0].radius / 2
    assert not ax.axison


def by_hand(*nodes, names):
    """A formula with the attributes of `classic.Formula`, made without the parser."""
    made = [
        SimpleNamespace(name=name, unit=SimpleNamespace(weights=weights, threshold=threshold), inputs=inputs)
        for name, weights, threshold, inputs in nodes
    ]
    return SimpleNamespace(text="by hand", names=names, nodes=tuple(made))


def test_lines_avoid_units_and_needless_crossings():
    formula = by_hand(
        ("first", (1.0,), 1.0, ("b",)),
        ("second", (-2.0, 1.0), -0.5, ("first", "a")),
        ("third", (1.0, 0.5), 1.0, ("second", "a")),
        names=("a", "b"),
    )
    ax = fnn.plot.network(formula)
    units, _, arrows = kinds(ax)
    centers = np.array([circle.center for circle in units])
    for arrow in arrows:
        corners = corners_of(arrow)
        dense = np.concatenate([np.linspace(p, q, 50) for p, q in itertools.pairwise(corners)])
        distance = np.linalg.norm(dense[:, None] - centers, axis=-1).min(0)
        assert (distance < units[0].radius).sum() == 0, "lines end at the edges of units and pass through none"
    assert f"{MINUS}2" in texts(ax)
    assert f"≥ {MINUS}0.5" in texts(ax)


def test_an_input_used_twice_has_one_line_with_both_weights():
    ax = fnn.plot.network(by_hand(("both", (1.0, -3.0), 0.0, ("a", "a")), names=("a",)))
    assert len(kinds(ax)[2]) == 1
    assert f"+1, {MINUS}3" in texts(ax)


def test_network_minimizes_crossings():
    formula = by_hand(
        ("p", (1.0,), 1.0, ("b",)),
        ("q", (1.0,), 1.0, ("a",)),
        ("result", (1.0, 1.0), 1.0, ("p", "q")),
        names=("a", "b"),
    )
    heights = {round(circle.center[1], 3) for circle in kinds(fnn.plot.network(formula))[0]}
    arrows = kinds(plt.gcf().axes[0])[2]
    flat = [arrow for arrow in arrows[:2] if np.ptp(corners_of(arrow)[:, 1]) < 1e-9]
    assert len(flat) == 2, "each input faces its own unit"
    assert len(heights) == 3


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("a and b", "a formula of at least one unit, got a str"),
        (
            by_hand(("x", (1.0,), 1.0, ("y",)), names=("a",)),
            r"unit 'x' to have inputs that come before it, got \['y'\]",
        ),
        (by_hand(("x", (), 1.0, ()), names=("a",)), r"unit 'x' to have inputs that come before it, got \[\]"),
        (
            by_hand(("x", (1.0, 2.0), 1.0, ("a",)), names=("a",)),
            "a weight for each input of unit 'x', got 1 input and 2",
        ),
    ],
)
def test_network_rejects_other_objects(formula, message):
    with pytest.raises(fnn.InputError, match=f"^network: expected {message}"):
        fnn.plot.network(formula)
    assert not plt.get_fignums()
