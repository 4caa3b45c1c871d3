"""Pictures of images, class probabilities and confusion matrices, tested for their contents."""

from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import some
from matplotlib.colors import to_hex
from pictures import IMAGES, P, shown, texts
from PIL import Image
from sklearn import metrics as sk

import fnn

COLORS, RIGHT, WRONG = fnn.plot.COLORS, fnn.plot.RIGHT, fnn.plot.WRONG


# --------------------------------------------------------------------------------------------------------------- images
def test_images_mark_correct_and_wrong_predictions():
    x = np.random.default_rng(0).random((5, 8, 8, 1))
    axes = fnn.plot.images(x, [1, 2, 3, 4, 5], [1, 2, 9, 4, 5], columns=3)
    assert len(axes) == 6
    assert [ax.get_title() for ax in axes] == ["1 (1)", "2 (2)", "9 (3)", "4 (4)", "5 (5)", ""]
    assert [ax.title.get_color() for ax in axes[:5]] == [RIGHT, RIGHT, WRONG, RIGHT, RIGHT]
    assert [ax.title.get_fontweight() for ax in axes[:4]] == ["normal", "normal", "bold", "normal"]
    np.testing.assert_array_equal(axes[3].images[0].get_array(), x[3, ..., 0].astype("float32"))
    # One scale for all, so that a faint image looks faint.
    assert {ax.images[0].get_clim() for ax in axes[:5]} == {(x.astype("float32").min(), x.astype("float32").max())}
    assert not any(ax.axison for ax in axes)
    plain = fnn.plot.images(np.zeros((2, 4, 4, 3)), ["cat", "dog"])
    assert [ax.get_title() for ax in plain] == ["cat", "dog"]
    assert plain[0].images[0].get_array().shape == (4, 4, 3)
    guesses = fnn.plot.images(x, predictions=jnp.arange(5))
    assert [ax.get_title() for ax in guesses[:5]] == ["0", "1", "2", "3", "4"]


def test_images_with_names():
    names = ["T-shirt", "ankle boot", "bag"]
    axes = fnn.plot.images(IMAGES, np.array([1, 2, 1]), jnp.array([1, 1, 0]), names=names)
    assert [ax.get_title() for ax in axes] == ["ankle boot\n(ankle boot)", "ankle boot (bag)", "T-shirt\n(ankle boot)"]
    assert [ax.title.get_color() for ax in axes] == [RIGHT, WRONG, WRONG]
    with pytest.raises(fnn.InputError, match=r"images: expected a class label in \[0, 2\), got .*2"):
        fnn.plot.images(IMAGES, [0, 1, 2], names=["a", "b"])
    with pytest.raises(fnn.InputError, match=r"images: expected 3 labels, got 4\. Pass those of the same rows"):
        fnn.plot.images(IMAGES, [0, 1, 2, 1])
    with pytest.raises(fnn.InputError, match=r"images: expected 3 predictions, got 5\. Pass those"):
        fnn.plot.images(IMAGES, [0, 1, 2], np.zeros(5, int))


@pytest.mark.parametrize(
    "x", [np.ones((2, 3, 3), bool), np.full((2, 3, 3), 200, "uint8"), jnp.ones((2, 3, 3, 3), jnp.bfloat16)]
)
def test_images_of_any_dtype(x):
    axes = fnn.plot.images(x)
    shown(axes[0])
    np.testing.assert_array_equal(np.asarray(axes[1].images[0].get_array(), float), np.asarray(x[1], float))


PHOTO = np.linspace(0.1, 0.9, 48, dtype="float32").reshape(6, 8)
COLOURS = np.stack([PHOTO, PHOTO[::-1], PHOTO[:, ::-1]], -1)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (1, 6, 8), (1, 6, 8, 1)])
def test_one_grey_image(shape):
    (ax,) = axes = fnn.plot.images(PHOTO.reshape(shape), 7, 1)
    assert ax.get_title() == "1 (7)"
    np.testing.assert_array_equal(ax.images[0].get_array(), PHOTO)
    pixels = ax.images[0].to_rgba(PHOTO)[..., 0]
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 1), "a photograph is not inverted"
    ink = fnn.plot.images(PHOTO.reshape(shape), cmap="gray_r")[0].images[0].to_rgba(PHOTO)[..., 0]
    np.testing.assert_allclose(ink, 1 - pixels, atol=0.01)
    assert repr(axes) == "<1 axes>"


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (COLOURS, COLOURS),
        (COLOURS[None], COLOURS),
        (jnp.asarray(COLOURS, jnp.float16), COLOURS),
        ((255 * COLOURS).astype("uint8"), (255 * COLOURS).astype("uint8")),
        ((255 * COLOURS).astype("int64"), (255 * COLOURS).astype("uint8")),
        (255.0 * COLOURS, COLOURS),
        (8 * COLOURS - 4, (COLOURS - 0.1) / 0.8),
        (np.concatenate([COLOURS, PHOTO[..., None]], -1), np.concatenate([COLOURS, PHOTO[..., None]], -1)),
    ],
)
def test_one_colour_image(x, shown):
    (ax,) = fnn.plot.images(x)
    picture = np.asarray(ax.images[0].get_array())
    assert picture.dtype == shown.dtype
    np.testing.assert_allclose(picture, shown, atol=1e-3)


def test_three_axes_are_several_grey_images_or_one_in_colour():
    for shape, count in {(5, 3, 3): 5, (4, 4, 4): 4, (5, 3, 4): 1, (2, 2, 3): 1, (3, 8, 8): 3, (5, 28, 28): 5}.items():
        assert len(fnn.plot.images(np.ones(shape))) == count


def test_lists_of_images_and_pil_images():
    colours = Image.fromarray((255 * COLOURS).astype("uint8"))
    grey = Image.fromarray((255 * PHOTO).astype("uint8"))
    given = [PHOTO[:4], COLOURS, grey, colours, colours.convert("P"), grey.convert("LA"), colours.convert("CMYK")]
    axes = fnn.plot.images(given, list("abcdefg"))
    assert [ax.get_title() for ax in axes] == list("abcdefg")
    pictures = [np.asarray(ax.images[0].get_array()) for ax in axes]
    assert [p.shape for p in pictures] == [(4, 8), (6, 8, 3), (6, 8), (6, 8, 3), (6, 8, 4), (6, 8, 4), (6, 8, 4)]
    # Integers do not darken floats beside them.
    assert axes[0].images[0].get_clim() == (PHOTO[:4].min(), PHOTO[:4].max())
    assert axes[2].images[0].get_clim() == (25, 229)
    np.testing.assert_array_equal(pictures[3], np.asarray(colours))
    np.testing.assert_array_equal(pictures[5][..., 0], np.asarray(grey))
    assert np.abs(pictures[6][..., :3] - np.asarray(colours, int)).max() <= 1
    (alone,) = fnn.plot.images(colours)
    np.testing.assert_array_equal(alone.images[0].get_array(), np.asarray(colours))
    assert len(fnn.plot.images([PHOTO.tolist(), PHOTO.tolist()])) == 2


def test_a_constant_image_has_its_shade():
    for x, shade in (
        (np.zeros((4, 5)), 0), (np.ones((4, 5)), 1), (np.full((4, 5), 255, "uint8"), 1), (np.full((4, 5), -7.0), 0.5),
    ):  # fmt: skip
        image = fnn.plot.images(x)[0].images[0]
        np.testing.assert_allclose(image.to_rgba(image.get_array())[..., :3], shade, atol=0.01)


LONG = "a-very-long-name-without-any-space-{}"


def inside(figure, box):
    return box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1


@pytest.mark.parametrize(
    "shape", [(1, 9, 9), (1, 40, 9), (3, 9, 40), (9, 9, 9), pytest.param((40, 9, 9), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", some(["{}", "class number {}", LONG], LONG))
def test_titles_are_neither_cut_off_nor_covered(shape, name):
    names = [name.format(i) for i in range(shape[0])]
    axes = fnn.plot.images(np.random.default_rng(0).random(shape), names, names[::-1])
    figure = shown(axes[0]).figure
    width, height = figure.get_size_inches()
    assert max(width, height) >= 2.5
    assert width <= 14
    titles = [ax.title.get_window_extent() for ax in axes[: shape[0]]]
    pictures = [ax.get_window_extent() for ax in axes[: shape[0]]]
    assert all(inside(figure, box) for box in titles + pictures)
    assert all(picture.width > 60 or picture.height > 60 for picture in pictures)
    for i, box in enumerate(titles):
        assert not any(box.padded(-2).overlaps(other) for other in titles[:i] + pictures)


@pytest.mark.parametrize("sizes", [[(6, 8), (3, 30)], [(30, 9), (9, 30), (9, 9)]])
def test_titles_of_unequal_images_are_not_cut_off(sizes):
    axes = fnn.plot.images([np.ones(size) for size in sizes], ["title"] * len(sizes))
    figure = shown(axes[0]).figure
    assert all(inside(figure, ax.title.get_window_extent()) for ax in axes)


def test_sizes_of_figures():
    def size(count, **options):
        return fnn.plot.images(np.ones((count, 4, 5)), **options)[0].figure.get_size_inches()

    assert min(size(1)) > 2
    assert size(4)[0] > 8, "few images use the width of a page"
    assert size(9, columns=3)[0] < 10


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 400])
def test_figures_of_many_images_are_not_huge(count):
    assert max(fnn.plot.images(np.ones((count, 4, 5)))[0].figure.get_size_inches()) <= 12.5


def test_images_reject_bad_input():
    form = r"x of shape \(\[count, \]height, width\[, channels\]\), got shape"
    with pytest.raises(fnn.InputError, match=form + r" \(4,\)"):
        fnn.plot.images(np.zeros(4))
    with pytest.raises(fnn.InputError, match=form + r" \(0, 4, 4\)"):
        fnn.plot.images(np.zeros((0, 4, 4)))
    with pytest.raises(fnn.InputError, match=form + r" \(2, 3, 8, 8\). Move the channels to the end: np.moveaxis"):
        fnn.plot.images(np.zeros((2, 3, 8, 8)))
    with pytest.raises(fnn.InputError, match=form):
        fnn.plot.images(np.zeros((2, 8, 8, 2)))
    with pytest.raises(fnn.InputError, match=r"x\[1\]: expected an image of shape \(height, width\[, channels\]\)"):
        fnn.plot.images([np.zeros((4, 4)), np.zeros(4)])
    with pytest.raises(fnn.InputError, match=r"one label for one image of shape \(5, 784\), got several. Reshape rows"):
        fnn.plot.images(np.zeros((5, 784)), [1, 2, 3, 4, 5])
    with pytest.raises(fnn.InputError, match="finite numbers in x, got NaN or infinity"):
        fnn.plot.images(np.full((2, 4, 4), np.nan))
    for wrong in ("grey2", 3, None):
        with pytest.raises(fnn.InputError, match="cmap as 'gray', 'gray_r', 'viridis' or another of matplotlib, got"):
            fnn.plot.images(PHOTO, cmap=wrong)
    for path in ("cat.png", ["cat.png"], [Path("cat.png")]):
        with pytest.raises(fnn.InputError, match=r"x: expected images, got a path. Read it: plt.imread\(path\)"):
            fnn.plot.images(path)
    with pytest.raises(fnn.InputError, match=r"at most 400 images, got 401. Select some, e.g. x\[:40\]"):
        fnn.plot.images(np.zeros((401, 2, 2)))
    with pytest.raises(fnn.InputError, match="expected 3 labels, got 2"):
        fnn.plot.images(np.zeros((3, 4, 5)), [1, 2])
    with pytest.raises(fnn.InputError, match=r"one prediction per image, got shape \(3, 10\). Use scores.argmax\(-1\)"):
        fnn.plot.images(np.zeros((3, 4, 5)), [1, 2, 3], np.zeros((3, 10)))
    assert not plt.get_fignums()


# -------------------------------------------------------------------------------------------------------- probabilities
def test_probabilities_of_a_wrong_prediction():
    ax = shown(fnn.plot.probabilities(jnp.array([0.05, 0.7, 0.25]), label=2, names=["bag", "boot", "coat"]))
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.05, 0.7, 0.25], rtol=1e-6)
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [to_hex("0.75"), WRONG, to_hex("0.75")]
    assert texts(ax) == ["70%", "25% (true)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bag", "boot", "coat"]
    assert [label.get_fontweight() for label in ax.get_yticklabels()] == ["normal", "normal", "bold"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first class is at the top"
    assert ax.get_xlabel() == "probability"


def test_probabilities_of_a_correct_prediction_and_without_a_label():
    right = fnn.plot.probabilities([0.9, 0.1], label=0)
    assert to_hex(right.patches[0].get_facecolor()) == RIGHT
    assert texts(right) == ["90% (true)"]
    unknown = fnn.plot.probabilities([0.1, 0.9])
    assert to_hex(unknown.patches[1].get_facecolor()) == COLORS[0].lower()
    assert texts(unknown) == ["90%"]
    single = fnn.plot.probabilities([0.2], label=np.int32(0), names=["no", "yes"])
    np.testing.assert_allclose([bar.get_width() for bar in single.patches], [0.8, 0.2])


def test_probabilities_of_many_classes():
    p = np.arange(1, 31) / np.arange(1, 31).sum()
    ax = shown(fnn.plot.probabilities(p, label=4))
    assert [label.get_text() for label in ax.get_yticklabels()] == [*map(str, range(29, 19, -1)), "4"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [*p[29:19:-1], p[4]])
    few = shown(fnn.plot.probabilities(p[:20] / p[:20].sum(), top=2))
    assert [label.get_text() for label in few.get_yticklabels()] == ["19", "18"]
    assert len(fnn.plot.probabilities(p[:20] / p[:20].sum()).patches) == 20


def test_probabilities_reject_bad_input():
    with pytest.raises(fnn.InputError, match=r"of shape \(classes,\), got shape \(3, 2\)"):
        fnn.plot.probabilities(P)
    with pytest.raises(fnn.InputError, match=r"numbers from -2 to 3 that sum to 1. Pass fnn.activations.softmax"):
        fnn.plot.probabilities([-2, 3])
    with pytest.raises(fnn.InputError, match=r"probabilities, which sum to 1, got numbers from 0\.5 to 0\.9"):
        fnn.plot.probabilities([0.5, 0.9])
    with pytest.raises(fnn.InputError, match="which sum to 1, got numbers from nan to nan"):
        fnn.plot.probabilities([np.nan, 0.9])
    with pytest.raises(fnn.InputError, match="expected 2 names, got 3 names"):
        fnn.plot.probabilities(P[0], names=["a", "b", "c"])
    with pytest.raises(fnn.InputError, match="expected 2 names, got 'ab'"):
        fnn.plot.probabilities(P[0], names="ab")
    for label in (2, -1, 0.5, [0, 1]):
        with pytest.raises(fnn.InputError, match=r"a class label in \[0, 2\), got"):
            fnn.plot.probabilities(P[0], label=label)
    with pytest.raises(fnn.InputError, match="top to be an integer of at least 1, got 0"):
        fnn.plot.probabilities(P[0], top=0)
    with pytest.raises(fnn.InputError, match="the probabilities of at least one class, got"):
        fnn.plot.probabilities([])


def test_predictions_are_images_beside_bars():
    axes = fnn.plot.predictions(IMAGES, P, [1, 1, 0], names=["cat", "dog"], columns=2)
    assert len(axes) == 8
    assert [ax.get_title() for ax in axes[::2]] == ["dog (dog)", "cat (dog)", "cat (cat)", ""]
    assert [ax.title.get_color() for ax in axes[:6:2]] == [RIGHT, WRONG, RIGHT]
    np.testing.assert_allclose([[bar.get_width() for bar in ax.patches] for ax in axes[1:6:2]], P)
    assert [texts(ax) for ax in axes[1:6:2]] == [["80% (true)"], ["70%", "30% (true)"], ["60% (true)"]]
    np.testing.assert_array_equal(axes[4].images[0].get_array(), IMAGES[2])
    assert not axes[7].axison
    unknown = fnn.plot.predictions(IMAGES, P[:, 1:])
    assert [ax.get_title() for ax in unknown[::2]] == ["1", "0", "0"]


def test_predictions_reject_bad_input():
    with pytest.raises(fnn.InputError, match=r"p of shape \(3, classes\), got shape \(2, 2\)"):
        fnn.plot.predictions(IMAGES, P[:2])
    with pytest.raises(fnn.InputError, match=r"p of shape \(3, classes\), got shape \(3,\)"):
        fnn.plot.predictions(IMAGES, P[0, 0] * np.ones(3))
    with pytest.raises(fnn.InputError, match=r"predictions: expected 3 labels, got shape \(2,\)"):
        fnn.plot.predictions(IMAGES, P, [1, 1])
    with pytest.raises(fnn.InputError, match=r"predictions: expected 3 labels, got shape \(4,\)"):
        fnn.plot.predictions(IMAGES, P, [1, 1, 0, 0])
    with pytest.raises(fnn.InputError, match=r"predictions: expected p of shape \(3, classes\), got shape \(6, 2\)"):
        fnn.plot.predictions(IMAGES, np.concatenate([P, P]))
    with pytest.raises(fnn.InputError, match="predictions: expected probabilities"):
        fnn.plot.predictions(IMAGES, 3 * P)
    with pytest.raises(fnn.InputError, match="predictions: expected 2 names, got 1 name"):
        fnn.plot.predictions(IMAGES, P, names=["cat"])


# ----------------------------------------------------------------------------------------------------- confusion matrix
# Two and ten are slow, since each number of classes compiles the counting again.
@pytest.mark.parametrize(
    "classes", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(10, marks=pytest.mark.slow), 20]
)
def test_confusion_matrix_matches_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    y = np.append(rng.integers(0, classes, 40 * classes), np.arange(classes))
    scores = rng.normal(size=(len(y), classes)) + 3 * np.eye(classes)[y]
    want = sk.confusion_matrix(y, scores.argmax(-1))
    names = [f"class {chr(97 + i)}" for i in range(classes)]
    ax = shown(fnn.plot.confusion_matrix(scores, y, names=names))
    assert texts(ax) == [str(n) for n in want.ravel()]
    assert [text.get_position() for text in ax.texts[:2]] == [(0, 0), (1, 0)], "rows are the true classes"
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    # The longest number fits into its cell.
    cell = (ax.transData.transform((1, 0)) - ax.transData.transform((0, 0)))[0]
    assert max(text.get_window_extent().width for text in ax.texts) < cell
    share = fnn.plot.confusion_matrix(scores, y, normalize=True)
    want = 100 * sk.confusion_matrix(y, scores.argmax(-1), normalize="true")
    assert np.abs(np.array(texts(share), float) - want.ravel()).max() <= 0.5 + 1e-9
    assert share.get_title() == "% of each true class"


def test_confusion_matrix_of_other_forms():
    assert texts(fnn.plot.confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1])) == list("100001011")
    assert texts(fnn.plot.confusion_matrix([[-1.0], [2.0], [3.0], [2.5]], [0, 1, 0, 1], threshold=0)) == list("1102")
    # A class without examples has no share; a named class has a row even without examples.
    ax = fnn.plot.confusion_matrix([0, 1, 0, 1], [0] * 4, names=["a", "b", "c"], normalize=True)
    assert texts(ax) == ["50", "50", "0", "", "", "", "", "", ""]
    many = fnn.plot.confusion_matrix(np.arange(57), np.arange(57))
    assert texts(many) == []
    assert len(many.figure.axes) == 2, "a colour bar stands in for the numbers"


def test_confusion_matrix_rejects_bad_input():
    with pytest.raises(fnn.InputError, match="confusion_matrix: expected 2 names, got 3 names"):
        fnn.plot.confusion_matrix(P, [0, 1, 0], names=["a", "b", "c"])
    with pytest.raises(fnn.InputError, match=r"confusion_matrix: expected class numbers in \[0, 2\), got"):
        fnn.plot.confusion_matrix([0, 1, 2], [0, 1, 0], names=["a", "b"])
    with pytest.raises(fnn.InputError, match=r"expected probabilities in \[0, 1\].*Logits need threshold=0"):
        fnn.plot.confusion_matrix([-1.0, 2.0], [0, 1])
    with pytest.raises(fnn.InputError, match="predictions and targets of the same length"):
        fnn.plot.confusion_matrix(P, [0, 1])
    with pytest.raises(fnn.InputError, match="expected 3 names, got 'abc'"):
        fnn.plot.confusion_matrix([0, 1], [0, 1], names="abc")
    assert not plt.get_fignums()
