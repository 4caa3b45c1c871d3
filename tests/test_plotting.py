"""Pictures, tested for what they show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fnn


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", [*fnn.activations.ACTIVATIONS, np.tanh])
def test_activation_and_its_derivative(name):
    if callable(name):
        name = fnn.activations.tanh
    ax = fnn.plot.activation(name, low=-3, high=3)
    y, slope = (line.get_ydata() for line in ax.lines[:2])
    x = ax.lines[0].get_xdata()
    assert (x[0], x[-1]) == (-3, 3)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [name if isinstance(name, str) else "tanh", "derivative"]
    if labels[0] not in ("step", "sign"):
        middle = (np.diff(y) / np.diff(x))[np.abs(x[:-1]) > 0.1]
        np.testing.assert_allclose(middle, (slope[1:] + slope[:-1])[np.abs(x[:-1]) > 0.1] / 2, atol=2e-3)


def test_learning_curves():
    ax = fnn.plot.learning_curves({"loss": [3, 2, 1], "val_loss": [4, 3, 2.5], "seconds": [1, 1, 1]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2, 1], [4, 3, 2.5]]
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    own = plt.figure().add_subplot()
    assert fnn.plot.learning_curves({"accuracy": [0.5]}, "accuracy", ax=own) is own
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got 'accuracy'"):
        fnn.plot.learning_curves({"loss": [1], "val_loss": [1]}, "accuracy")


def test_images_show_right_and_wrong():
    x = np.random.default_rng(0).random((5, 8, 8, 1))
    axes = fnn.plot.images(x, [1, 2, 3, 4, 5], [1, 2, 9, 4, 5], columns=3)
    assert len(axes) == 6
    assert [ax.get_title() for ax in axes] == ["1 (1)", "2 (2)", "9 (3)", "4 (4)", "5 (5)", ""]
    colors = [ax.title.get_color() for ax in axes[:5]]
    assert colors == [fnn.plot.RIGHT, fnn.plot.RIGHT, fnn.plot.WRONG, fnn.plot.RIGHT, fnn.plot.RIGHT]
    np.testing.assert_array_equal(axes[3].images[0].get_array(), x[3, ..., 0])
    plain = fnn.plot.images(np.zeros((2, 4, 4, 3)), ["cat", "dog"])
    assert [ax.get_title() for ax in plain] == ["cat", "dog"]


def test_images_refuse_bad_input():
    with pytest.raises(fnn.InputError, match=r"x of shape \(count, height, width\[, channels\]\), got \(4, 4\)"):
        fnn.plot.images(np.zeros((4, 4)))
    with pytest.raises(fnn.InputError, match="expected 3 labels, got 2"):
        fnn.plot.images(np.zeros((3, 4, 4)), [1, 2])
    with pytest.raises(fnn.InputError, match="expected 3 axes, got 1"):
        fnn.plot.images(np.zeros((3, 4, 4)), axes=plt.figure().add_subplot())
