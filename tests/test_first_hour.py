"""Habits from other libraries: each works, or one line says what to write."""

import copy
import csv
import importlib
import inspect
import io
import json
import pickle

import jax
import numpy as np
import pytest

import fnn
from fnn._moved import MOVED

X = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
Y = np.array([0, 1, 1, 0], "int32")
TASK = fnn.Task(fnn.Dense(2), "sparse_categorical_crossentropy", metrics=("accuracy",))
TS = fnn.init(TASK, jax.random.key(0), X[:1])


def public_modules():
    found = {f"fnn.{name}": value for name, value in vars(fnn).items() if inspect.ismodule(value)}
    return {name: module for name, module in found.items() if not name.startswith("fnn._")}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("layers", "Use fnn.Dense"),
        ("nn.Linear", "fnn.nn has no 'Linear'. Use fnn.Dense"),
        ("nn.LSTM", "Use fnn.LSTM"),
        ("nn.ReLU", 'Use fnn.Activation("relu")'),
        ("optimizers.Adam", "Use fnn.adam"),
        ("optimizers.schedules.CosineDecay", "Use fnn.schedules.cosine_decay"),
        ("losses.MeanSquaredError", "Use fnn.losses.mean_squared_error"),
        ("losses.CrossEntropyLoss", "Use fnn.losses.sparse_categorical_crossentropy"),
        ("initializers.HeNormal", "Use fnn.initializers.he_normal"),
        ("activations.ReLU", "Use fnn.activations.relu."),
        ("penalties.L2", "fnn.penalties.l2"),
        ("metrics.Acuracy", "Did you mean fnn.metrics.accuracy"),
        ("data.load_iris", "Use fnn.data.iris"),
        ("plot.plot_history", "Use fnn.plot.learning_curves"),
        ("plot.history", "Use fnn.plot.learning_curves."),
        ("losses.mse", "Use fnn.losses.mean_squared_error."),
        ("losses.l1", "Use fnn.losses.mean_absolute_error."),
        ("initializers.RandomNormal", "Use fnn.initializers.normal."),
        ("initializers.xavier_uniform", "Use fnn.initializers.glorot_uniform."),
        ("initializers.Const", "Use fnn.initializers.constant(value)."),
        ("activations.logistic", "Use fnn.activations.sigmoid."),
        ("metrics.mse", 'Use fnn.losses.mean_squared_error, or metrics=("mse",) in a task.'),
        ("schedules.StepLR", "Use fnn.schedules.exponential_decay(..., staircase=True)."),
        ("logistic", "Use fnn.activations.sigmoid."),
        ("PReLU", 'Use fnn.Activation("leaky_relu"), whose slope is fixed.'),
        ("text.Tokenizer", "Use fnn.text.Vocabulary"),
        ("classic.Perceptrons", "fnn.classic has no"),
        ("Drpout", "fnn.Dropout"),
    ],
)
def test_names_of_other_libraries_anywhere(path, words):
    *modules, name = path.split(".")
    module = fnn
    for step in modules:
        module = getattr(module, step)
    with pytest.raises(AttributeError) as error:
        getattr(module, name)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["qqq", "Msked", "weigth"])
def test_names_of_other_modules_are_no_guess_for_a_short_name(name):
    with pytest.raises(AttributeError, match=f"fnn.losses has no '{name}'.( Did you mean fnn.Masked.)?$"):
        getattr(fnn.losses, name)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fnn.Dense(1, kernel_initializer="RandomNormal"), "Use 'normal'."),
        (lambda: fnn.Dense(1, kernel_initializer="RandomNormalInitializer"), "Use 'normal'."),
        (lambda: fnn.Dense(1, kernel_initializer="kaiming_uniform"), "Use 'he_uniform'."),
        (lambda: fnn.Dense(1, bias_initializer="constant"), "Use fnn.initializers.constant(value)."),
        (lambda: fnn.Dense(1, activation="logistic"), "Use 'sigmoid'."),
        (lambda: fnn.Dense(1, activation="leakyrelu"), "Use 'leaky_relu'."),
        (lambda: fnn.Dense(1, activation="none"), "Use 'linear'."),
        (lambda: fnn.Task(fnn.Dense(1), "cce"), "Use 'categorical_crossentropy'."),
        (lambda: fnn.Task(fnn.Dense(1), "categorical_cross_entropy"), "Use 'categorical_crossentropy'."),
        (lambda: fnn.Task(fnn.Dense(1), "rmse"), 'Use fnn.losses.mean_squared_error as loss, with metrics=("rmse",).'),
        (lambda: fnn.Task(fnn.Dense(1), "mse", "momentum"), "Use fnn.sgd(momentum=0.9)."),
        (lambda: fnn.Task(fnn.Dense(1), "mse", metrics="top5"), "Use 'top_k_accuracy'."),
    ],
)
def test_names_of_other_libraries_as_text(make, words):
    with pytest.raises(fnn.InputError) as error:
        make()
    assert str(error.value).endswith(words)


def test_importing_a_module_of_version_0_1_names_its_successor():
    for name, successor in MOVED.items():
        importlib.import_module(successor)
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'.*import from {successor}\\.$"):
            importlib.import_module(name)
    with pytest.raises(ModuleNotFoundError, match=r"import from fnn\.plot\."):
        from fnn import plotting  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"import from fnn\.plot\."):
        importlib.import_module("fnn.plotting.sweeps")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'fnn\.no_such'$"):
        importlib.import_module("fnn.no_such")


def test_every_name_that_a_hint_mentions_exists():
    below = list(fnn._equivalents.EQUIVALENTS.values())
    for module, table in fnn._equivalents.BY_KIND.values():
        below += [f"{module}.{code}" if code.isidentifier() else code for code in table.values()]
    below = [code.removeprefix("=") if code.startswith("=") else f"fnn.{code}" for code in below]
    others = [*fnn._names._ARGUMENTS.values(), *fnn._names._METHODS.values()]
    checked = 0
    for hint in [*below, *others]:
        for word in hint.replace("(", " ").replace(",", " ").replace(")", " ").split():
            if word.startswith("fnn.") and word != "fnn.":
                found = fnn
                for step in word.rstrip(".:").split(".")[1:]:
                    found = getattr(found, step)
                checked += 1
    assert checked > 100


def test_every_public_module_hints():
    for name, module in public_modules().items():
        if "__path__" in vars(module) and name.count(".") == 1 and not hasattr(module, "__all__"):
            continue  # a package whose parts are in fnn
        with pytest.raises(AttributeError, match="has no"):
            _ = module.no_such_name_at_all
        with pytest.raises(AttributeError, match="has no attribute '_private'"):
            _ = module._private


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fnn.Dense(3, input_shape=(4,)), r"Dense\(\) got an unexpected.*'input_shape'\. Leave it out"),
        (lambda: fnn.Flatten(input_shape=(28, 28)), r"Flatten\(\) got an unexpected.*'input_shape'\. Leave it out"),
        (lambda: fnn.Dropout(p=0.5), "'p'. Write rate=0.5"),
        (lambda: fnn.Dense(3, bias=False), "'bias'. Write use_bias=False"),
        (lambda: fnn.Dense(3, trainable=False), "fnn.freeze"),
        (lambda: fnn.Conv(8, 3, stride=2), "'stride'. Write strides=2"),
        (lambda: fnn.LSTM(3, dropout=0.1), "fnn.Dropout"),
        (lambda: fnn.Dense(), r"Dense\(\): missing a required argument: 'units'. Write Dense\(units\)"),
        (lambda: TASK.model(X), r"layer\.apply\(params, state, x\).*fnn\.Model"),
    ],
)
def test_arguments_of_other_libraries(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize("name", ["add", "compile", "fit", "predict", "evaluate", "summary", "layers", "get_weights"])
def test_methods_of_other_libraries(name):
    for thing in (TASK.model, TASK):
        assert not hasattr(thing, name)
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}'\. \w"):
            getattr(thing, name)


def test_scores_unpack_to_values():
    scores = fnn.evaluate(TASK, TS, (X, Y))
    loss, accuracy = scores
    assert (loss, accuracy) == (scores["loss"], scores["accuracy"])
    assert isinstance(loss, float)
    plain = {"loss": loss, "accuracy": accuracy}
    assert scores == plain == dict(scores) == {**scores} == dict(scores.items())
    assert list(scores.keys()) == list(plain)
    assert "loss" in scores
    assert 0.5 not in scores
    assert len(scores) == 2
    assert repr(scores) == repr(plain)
    assert json.loads(json.dumps(scores)) == plain
    assert pickle.loads(pickle.dumps(scores)) == copy.copy(scores) == scores
    assert scores | {"other": 1.0} == {**plain, "other": 1.0}
    assert {"other": 1.0} | scores == {"other": 1.0, **plain}
    assert list(reversed(scores)) == [accuracy, loss]
    assert scores == pytest.approx(plain)
    twice = jax.tree.map(lambda a, b: a + b, scores, copy.deepcopy(scores))
    assert dict(twice) == {name: 2 * value for name, value in plain.items()}
    assert jax.jit(lambda scores: scores)(scores) == pytest.approx(plain)
    leaves = jax.tree_util.tree_leaves_with_path(scores)
    assert {path[0].key: value for path, value in leaves} == plain


def test_scores_in_tables():
    pandas = pytest.importorskip("pandas")
    scores = fnn.evaluate(TASK, TS, (X, Y))
    table = pandas.DataFrame([scores, {"loss": 1.0, "accuracy": 0.0}])
    pandas.testing.assert_frame_equal(table, pandas.DataFrame([dict(scores), {"loss": 1.0, "accuracy": 0.0}]))
    pandas.testing.assert_series_equal(pandas.Series(scores), pandas.Series(dict(scores)))
    names = io.StringIO()
    csv.DictWriter(names, ["loss", "accuracy"]).writerow(scores)
    assert names.getvalue().split(",") == [str(scores["loss"]), f"{scores['accuracy']}\r\n"]


def test_scores_by_other_than_a_name():
    scores = fnn.evaluate(TASK, TS, (X, Y))
    for number in (scores["loss"], np.float32(0.5)):
        with pytest.raises(KeyError, match=r"gives values; use scores\.items\(\)"):
            scores[number]
    with pytest.raises(KeyError, match=r"'acc'. Known: loss, accuracy\."):
        scores["acc"]


def test_scores_are_saved(tmp_path):
    scores = fnn.evaluate(TASK, TS, (X, Y))
    fnn.save(tmp_path / "scores", TS, extra={"scores": scores})
    assert fnn.load_info(tmp_path / "scores").extra == {"scores": dict(scores)}


def test_history_as_in_keras():
    _, history = fnn.fit(TASK, TS, (X, Y), epochs=2, verbose=0)
    assert history.history["loss"] == history["loss"]
    assert len(history.history["accuracy"]) == 2


def test_results_are_measured_and_iterated_by_their_rows():
    vocabulary = fnn.text.Vocabulary.of("banana")
    assert len(vocabulary) == vocabulary.size == 3
    assert list(vocabulary) == ["a", "b", "n"]
    assert "a" in vocabulary
    assert "an" not in vocabulary
    assert "" not in vocabulary
    assert vocabulary == fnn.text.Vocabulary("abn") != fnn.text.Vocabulary("ab")
    assert hash(vocabulary) == hash(fnn.text.Vocabulary("abn"))
    assert repr(vocabulary) == "Vocabulary('abn')"
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert fnn.Dense(len(vocabulary)) == fnn.Dense(3)
    model = fnn.Sequential(fnn.Dense(4), fnn.Dense(2))
    for table in (fnn.summary(model, X), fnn.check(model, X), fnn.layer_report(TASK, TS, (X, Y))):
        assert len(table) == len(table.rows)
        assert [*table] == [*table.rows]
        assert table[-1] is table.rows[-1]
    truth = fnn.classic.formula("a and b").table()
    assert len(truth) == 4
    assert truth[3] == (1, 1, 1)
    found = fnn.sweep(
        lambda rate: fnn.run(TASK.replace(optimizer=fnn.adam(rate)), TS, (X, Y)), {"rate": [0.1, 0.2, 0.3]}, verbose=0
    )
    assert len(found) == 3


def test_fit_without_init():
    with pytest.raises(fnn.InputError, match=r"fnn\.init\(task, key, x\)"):
        fnn.fit(TASK, (X, Y))
    for call in (fnn.fit, fnn.evaluate, fnn.predict):
        with pytest.raises(fnn.InputError, match=r"expected data as third argument, got none\. Write fnn\."):
            call(TASK, TS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fnn.fit(TASK, TS, x=X, y=Y), r"Write the data as one tuple, fit\(task, ts, \(x, y\)\)"),
        (lambda: fnn.fit(TASK, TS, (X, Y), sample_weight=Y), r"Write the data as \(x, y, sample_weight\)"),
        (lambda: fnn.evaluate(TASK, TS, (X, Y), verbose=0), "Write it without verbose"),
        (lambda: fnn.predict(TASK, TS, X, verbose=0), "Write it without verbose"),
        (lambda: fnn.model_checkpoint("a", save_best_only=True), "Write monitor='val_loss'"),
        (lambda: fnn.data.train_test_split(X, Y, random_state=1), "Write seed=1"),
    ],
)
def test_arguments_of_other_libraries_in_calls(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_losses_with_the_targets_first_are_refused():
    def mine(y_true, y_pred):
        return (y_true - y_pred) ** 2

    for make in (lambda: fnn.Task(fnn.Dense(2), mine), lambda: fnn.Task(fnn.Dense(2), "mse", metrics=[mine])):
        with pytest.raises(fnn.InputError, match=r"expected a function \(predictions, targets\).*'y_true' first"):
            make()
    fnn.Task(fnn.Dense(2), lambda predictions, targets: mine(targets, predictions))


def test_a_monitor_that_the_logs_lack_is_refused_before_training():
    steps = []

    def trained(step, logs):
        steps.append(step)

    for callback, words in (
        (fnn.early_stopping(), "Pass validation data"),
        (fnn.early_stopping("val_accuracy"), "Pass validation data"),
        (fnn.reduce_on_plateau("val_acuracy", mode="max"), "Pass validation data"),
        (fnn.early_stopping("acuracy", mode="max"), "Did you mean 'accuracy'"),
    ):
        with pytest.raises(fnn.InputError, match=words):
            fnn.fit(TASK, TS, (X, Y), callbacks=[fnn.on_batch(trained), callback], verbose=0)
        assert not steps


def test_weights_of_absent_classes_are_refused():
    for weights in ({0: 1.0, 2: 5.0}, {11: 5.0}, [1.0, 2.0, 3.0]):
        with pytest.raises(
            fnn.InputError, match="class_weight: expected weights of the classes 0 to 1, got a weight of"
        ):
            fnn.fit(TASK, TS, (X, Y), class_weight=weights, verbose=0)
    fnn.fit(TASK, TS, (X, Y), class_weight={1: 5.0}, verbose=0)
