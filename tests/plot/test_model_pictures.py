"""Pictures of models as graphs: their boxes, texts and lines."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from pictures import texts

import fnn


def siamese():
    def forward(layers, x):
        return layers.head(jnp.abs(layers.encoder(x["a"]) - layers.encoder(x["b"])))

    return fnn.Model(forward, encoder=fnn.Sequential(fnn.Dense(4), fnn.Dropout(0.5)), head=fnn.Dense(1))


def boxes_and_lines(ax):
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    return boxes, [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_a_shared_layer_has_a_box_for_each_call():
    ax = fnn.plot.model(siamese(), {"a": jnp.ones((1, 3)), "b": jnp.ones((1, 3))})
    assert texts(ax) == [
        "x['a']", "(None, 3)", "x['b']", "(None, 3)",
        "encoder", "Dense, Dropout", "(None, 4)", "16 parameters",
        "encoder (call 2)", "Sequential", "(None, 4)", "the same parameters",
        "head", "Dense", "(None, 1)", "5 parameters", "y", "(None, 1)",
    ]  # fmt: skip
    boxes, lines = boxes_and_lines(ax)
    assert (len(boxes), len(lines)) == (6, 5)


def test_boxes_do_not_overlap_and_lines_pass_between_them():
    """A line that skips a row crosses no box."""

    def forward(layers, x):
        h = layers.stem(x)
        total = h + layers.first(h)
        return layers.out(total + layers.second(total))

    model = fnn.Model(forward, stem=fnn.Dense(4), first=fnn.Dense(4), second=fnn.Dense(4), out=fnn.Dense(2))
    ax = fnn.plot.model(model, (3,))
    boxes, lines = boxes_and_lines(ax)
    extents = [box.get_extents().transformed(ax.transData.inverted()) for box in boxes]
    for i, a in enumerate(extents):
        assert not any(a.overlaps(b) for b in extents[:i])
    left, right, low, high = *ax.get_xlim(), *ax.get_ylim()
    assert all(left < e.x0 and e.x1 < right and low < e.y0 and e.y1 < high for e in extents)
    assert len(lines) == 8  # x-stem, stem-first, (stem, first)-second, (stem, first, second)-out, out-y
    for line in lines:
        points = line.get_path().interpolated(20).vertices
        points = ax.transData.inverted().transform(line.get_transform().transform(points))
        for e in extents:
            inside = (e.x0 + 0.05 < points[:, 0]) & (points[:, 0] < e.x1 - 0.05)
            inside &= (e.y0 + 0.05 < points[:, 1]) & (points[:, 1] < e.y1 - 0.05)
            assert not inside.any()


def test_layers_called_as_inputs_and_outputs():
    """Layers have boxes of their own, beside those of the input x and the output y; constants have no line."""
    model = fnn.Model(lambda layers, x: (layers.y(layers.x(x)), 1.0 + jnp.zeros(2)), x=fnn.Dense(2), y=fnn.Dense(1))
    ax = fnn.plot.model(model, (3,))
    assert [text for text in texts(ax) if text[0] in "xy"] == ["x", "x", "y", "y[0]", "y[1]"]
    boxes, lines = boxes_and_lines(ax)
    assert (len(boxes), len(lines)) == (5, 3)


def test_a_layer_of_training_alone_is_drawn():
    def forward(layers, x, *, train):
        h = layers.a(x)
        return (h, layers.aux(h)) if train else h

    ax = fnn.plot.model(fnn.Model(forward, a=fnn.Dense(2), aux=fnn.Dense(7)), (3,))
    assert "aux" in texts(ax)
    boxes, lines = boxes_and_lines(ax)
    assert (len(boxes), len(lines)) == (4, 3)  # x-a, a-aux, a-y


def test_a_sequential_is_a_chain():
    ax = fnn.plot.model(fnn.Sequential(fnn.Flatten(), fnn.Dense(10)), (28, 28))
    assert [text for text in texts(ax) if "param" in text] == ["7,850 parameters"]
    boxes, lines = boxes_and_lines(ax)
    assert (len(boxes), len(lines)) == (4, 3)
    centres = [np.mean(box.get_extents().get_points(), 0) for box in boxes]
    assert np.ptp([x for x, _ in centres]) < 1
    assert [y for _, y in centres] == sorted((y for _, y in centres), reverse=True)


def test_a_task_is_drawn_as_its_model():
    task = fnn.Task(fnn.Dense(2), "mse")
    assert texts(fnn.plot.model(task, (3,))) == texts(fnn.plot.model(fnn.Dense(2), (3,)))


def test_mistakes():
    with pytest.raises(fnn.InputError, match="model: expected a Layer or a Task, got a list"):
        fnn.plot.model([], (3,))
    with pytest.raises(fnn.InputError, match="Dense: expected x of shape"):
        fnn.plot.model(fnn.Dense(2), jnp.ones(3))


def written(model, x):
    return " ".join(texts(fnn.plot.model(model, x)))


def test_a_repeated_layer_is_one_box_with_its_number():
    block = fnn.Residual(fnn.LayerNorm(), fnn.Dense(4, activation="relu"), fnn.Dense(3))
    inside = "repeated Residual (LayerNorm, Dense, Dense) x 12 (None, 3) 444 parameters"
    assert inside in written(fnn.Sequential(fnn.Dense(3), fnn.Repeated(block, 12), fnn.Dense(2)), (3,))
    # 12 * (6 + 16 + 15): the model itself is drawn as a box too
    assert written(fnn.Repeated(block, 12), (3,)) == f"x (None, 3) {inside} y (None, 3)"
    assert "repeated Dense x 5 (None, 3) 60 parameters" in written(fnn.Repeated(fnn.Dense(3), 5), (3,))


def test_repeated_layers_inside_repeated_ones():
    pair = fnn.Sequential(fnn.Dense(3), fnn.Repeated(fnn.Dense(3), 2))
    assert "repeated (Dense, Dense x 2) x 4 (None, 3) 144 parameters" in written(fnn.Repeated(pair, 4), (3,))


def test_a_wrapper_is_named_before_the_layers_inside_it():
    assert "residual Residual (Dense) (None, 3)" in written(fnn.Residual(fnn.Dense(3)), (3,))
    model = fnn.Sequential(fnn.Bidirectional(fnn.LSTM(4, return_sequences=True)), fnn.TimeDistributed(fnn.Dense(2)))
    found = written(model, (5, 3))
    assert "Bidirectional (LSTM, LSTM) (None, 5, 8)" in found
    assert "TimeDistributed (Dense) (None, 5, 2)" in found
