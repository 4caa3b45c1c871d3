"""The drivers: fit, evaluate, predict; their data, progress, callbacks, interruption and errors."""

import dataclasses
import inspect
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compilations

import fnn
from fnn.fitting import pace, pieces
from fnn.fitting.options import Options
from fnn.fitting.progress import Progress


# Nearly all tests train on 70 rows in batches of 32, and so share compiled programs.
@pytest.fixture(scope="module")
def longer():
    """More rows, of which a split of one half leaves 70."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(141, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32")


@pytest.fixture(scope="module")
def data(longer):
    return longer[0][:70], longer[1][:70]


@pytest.fixture(scope="module")
def task():
    model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dropout(0.1), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-2), metrics=("accuracy",))


def values(ts):
    return [np.asarray(a) for a in jax.tree.leaves((ts.params, ts.opt_state, ts.step))]


def assert_equal(a, b):
    for x, y in zip(values(a), values(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_options_are_the_keyword_arguments():
    """Both lists are written for readers, with types; neither may gain an option alone."""
    parameters = inspect.signature(fnn.fit).parameters.values()
    keywords = {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}
    del keywords["mesh"], keywords["shard"]  # where the state lies, which `placed` checks
    assert keywords == {option.name: option.type for option in dataclasses.fields(Options)}


def test_history(task, ts, data):
    _, history = fnn.fit(task, ts, data, epochs=3, validation_data=data, verbose=0)
    assert isinstance(history, fnn.History)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert all(len(column) == 3 for column in history.values())
    assert min(history["seconds"]) > 0
    assert not history.interrupted


def test_the_given_state_stays_valid(task, ts, data):
    before = values(ts)
    fnn.fit(task, ts, data, verbose=0)
    fnn.train_step(task, ts, data)
    for a, b in zip(before, values(ts), strict=True):
        np.testing.assert_array_equal(a, b)
    x, y = jnp.asarray(data[0]), jnp.asarray(data[1])
    fnn.fit(task, ts, (x, y), verbose=0)
    np.testing.assert_array_equal(x, data[0])


def test_jax_arrays_lists_and_numpy_give_the_same(task, ts, data):
    a, _ = fnn.fit(task, ts, data, verbose=0)
    b, _ = fnn.fit(task, ts, tuple(map(jnp.asarray, data)), verbose=0)
    c, _ = fnn.fit(task, ts, (data[0].tolist(), data[1].tolist()), verbose=0)
    assert_equal(a, b)
    assert_equal(a, c)


class Batches:
    """A data loader: every epoch in order, the last batch smaller."""

    def __init__(self, data, size):
        self.data, self.size = data, size

    def __iter__(self):
        for i in range(0, len(self.data[0]), self.size):
            yield tuple(a[i : i + self.size] for a in self.data)


def test_a_stream_of_batches_equals_arrays_in_order(task, ts, data):
    by_arrays, history = fnn.fit(task, ts, data, epochs=2, shuffle=False, verbose=0)
    by_stream, stream_history = fnn.fit(
        task, ts, Batches(data, 32), epochs=2, validation_data=Batches(data, 32), verbose=0
    )
    for a, b in zip(values(by_arrays), values(by_stream), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)
    np.testing.assert_allclose(history["loss"], stream_history["loss"], 1e-5)
    seen = fnn.evaluate(task, by_stream, data)
    np.testing.assert_allclose(stream_history["val_accuracy"][-1], seen["accuracy"], 1e-6)
    by_list, _ = fnn.fit(task, ts, list(Batches(data, 32)), epochs=2, verbose=0)
    assert_equal(by_list, by_stream)


def test_evaluate_on_a_stream_equals_arrays(task, ts, data):
    a, b = fnn.evaluate(task, ts, data), fnn.evaluate(task, ts, Batches(data, 32))
    np.testing.assert_allclose(list(a.values()), list(b.values()), 1e-5)


def test_validation_split_is_the_last_fraction_before_shuffling(task, ts, longer):
    x, y = (a[:101] for a in longer)
    cut = 70  # floor(0.7 * 101)
    a, split = fnn.fit(task, ts, (x, y), epochs=2, validation_split=0.3, verbose=0)
    train, val = (x[:cut], y[:cut]), (x[cut:], y[cut:])
    b, given = fnn.fit(task, ts, train, epochs=2, validation_data=val, verbose=0)
    assert_equal(a, b)
    assert split["val_loss"] == given["val_loss"]


@pytest.mark.slow
def test_class_weight_equals_sample_weight(task, ts, data):
    weight = np.array([1.0, 5.0, 0.5], "float32")
    a, _ = fnn.fit(task, ts, data, class_weight={1: 5.0, 2: 0.5}, verbose=0)
    b, _ = fnn.fit(task, ts, (*data, weight[data[1]]), verbose=0)
    c, _ = fnn.fit(task, ts, data, verbose=0)
    assert_equal(a, b)
    assert not np.array_equal(values(a)[0], values(c)[0])


def test_verbose_bar_shows_loss_and_metrics(task, ts, data, capsys):
    fnn.fit(task, ts, data, epochs=2, validation_data=data, verbose=1)
    shown = capsys.readouterr().out
    for text in ("epoch 1/2", "epoch 2/2", "3/3", "loss ", "accuracy ", "val_loss", "val_accuracy"):
        assert text in shown


def test_verbose_line_and_silence(task, ts, data, capsys):
    fnn.fit(task, ts, data, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2: loss ")
    fnn.fit(task, ts, data, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_the_bar_says_compiling_while_it_does(capsys):
    def uneven(outputs, y):  # a loss that no other test has compiled
        return jnp.abs(outputs - y[:, None]).sum(-1) * 1.25

    x = np.linspace(-1, 1, 21, dtype="float32").reshape(7, 3)
    data, val = (x, x[:, 0]), (x[:5], x[:5, 0])
    task = fnn.Task(fnn.Dense(2), uneven)
    ts = fnn.init(task, jax.random.key(0), x)

    def frames(**options):
        fnn.fit(task, ts, data, batch_size=3, **options)
        out, err = capsys.readouterr()
        assert err == ""
        return out.replace("\n", "\r").split("\r")

    first = frames(epochs=2, validation_data=val)
    compiling = ["compiling" in frame for frame in first]
    values = ["loss" in frame for frame in first]
    assert compiling.index(True) < values.index(True), "before the first step"
    assert not any(c and v for c, v in zip(compiling, values, strict=True))
    last = max(i for i, frame in enumerate(first) if "compiling" in frame)
    assert "3/3" in first[last], "the validation compiles after the last step"
    assert "loss" in first[last + 1], "the values of the epoch return"
    assert not any("compiling" in frame for frame in first if "epoch 2/2" in frame)
    again = frames(epochs=1, validation_data=val)
    assert any("val_loss" in frame for frame in again)
    assert not any("compiling" in frame for frame in again)
    task = task.replace(optimizer=fnn.adam())  # compiles again
    ts = fnn.init(task, jax.random.key(0), x)
    assert frames(epochs=1, verbose=0) == [""]


@pytest.mark.slow
def test_a_closed_bar_shows_no_later_compilation(task, ts, data, capsys):
    def batches():
        yield data
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fnn.fit(task, ts, batches())
    fnn.fit(task, ts, data)
    progress = Progress(1, 1)
    progress.start(0, 3, 0)
    jax.monitoring.unregister_event_duration_listener(progress._on_jax_event)  # as jax.monitoring.clear_event_listeners
    progress.end(0, {}, 0.1)
    capsys.readouterr()
    jax.jit(lambda a: a * 3.25)(1.0)
    assert capsys.readouterr() == ("", "")


def test_callbacks_see_each_epoch_and_may_change_or_stop(task, ts, data):
    seen, kept = [], []

    def watch(epoch, ts, logs):
        seen.append((epoch, logs["loss"]))
        kept.append(ts)

    def lower(epoch, ts, logs):
        return fnn.set_hyper(ts, learning_rate=0.0) if epoch == 1 else None

    def stop(epoch, ts, logs):
        if epoch == 3:
            raise fnn.StopTraining

    def mark(epoch, ts, logs):
        return ts._replace(step=ts.step + 1000) if epoch == 3 else None

    end, history = fnn.fit(task, ts, data, epochs=10, callbacks=[watch, lower, mark, stop], verbose=0)
    assert int(end.step) == 4 * 3 + 1000  # what callbacks before the stop changed is kept
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert history["loss"] == [loss for _, loss in seen]
    # With a learning rate of 0 from epoch 2 on, the parameters stay; and the states kept are still readable.
    for a, b in zip(jax.tree.leaves(kept[1].params), jax.tree.leaves(end.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(values(kept[0])[0], values(kept[1])[0])
    with pytest.raises(fnn.InputError, match="None or a TrainState"):
        fnn.fit(task, ts, data, callbacks=lambda epoch, ts, logs: 3, verbose=0)


def test_ctrl_c_returns_the_current_state(task, ts, data, capsys):
    def press(epoch, ts, logs):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    end, history = fnn.fit(task, ts, data, epochs=100, callbacks=press, verbose=2)
    assert history.interrupted
    assert len(history["loss"]) == 3
    expected, _ = fnn.fit(task, ts, data, epochs=3, verbose=0)
    assert_equal(end, expected)
    assert "interrupted at step 9" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_inside_an_epoch(task, ts, data, monkeypatch):
    """The steps under way are the last ones."""
    original, calls = pieces._advance, []

    def advance(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    advance.lower = original.lower
    monkeypatch.setattr(pieces, "_advance", advance)
    monkeypatch.setattr(pace.Pace, "steps", lambda self, period: 2)  # 2 of the first epoch's 3 steps, 1, 2 of the next
    end, history = fnn.fit(task, ts, data, epochs=1000, verbose=0)
    assert history.interrupted
    assert int(end.step) == 5
    assert all(np.isfinite(a).all() for a in values(end))
    fnn.evaluate(task, end, data)


def test_the_chunk_length_matches_the_update_period():
    known = pace.Pace()
    assert known.steps(2.0) == 1
    known.note(1, 30.0)  # with its compilation
    assert known.steps(2.0) == 4
    known.note(4, 1.0)
    assert known.steps(2.0) == 8
    known.note(8, 80.0)
    assert known.steps(2.0) == 1


def test_a_second_ctrl_c_takes_effect_immediately(task, ts, data):
    def press_twice(epoch, ts, logs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="second Ctrl-C"):
        fnn.fit(task, ts, data, callbacks=press_twice, verbose=0)


def test_fit_works_in_a_thread(task, ts, data):
    out = []
    thread = threading.Thread(target=lambda: out.append(fnn.fit(task, ts, data, verbose=0)))
    thread.start()
    thread.join()
    assert_equal(out[0][0], fnn.fit(task, ts, data, verbose=0)[0])


def bad(data, at=(3, 2), value=np.nan):
    x = data[0].copy()
    x[at] = value
    return x, data[1]


def first(data):
    """A batch of the size that other tests train on."""
    return data[0][:32], data[1][:32]


ERRORS = {
    "labels above": (lambda d: (d[0], d[1] + 1), {}, r"labels in \[0, 3\) for 3 outputs, got labels from 1 to 3"),
    "labels below": (lambda d: (d[0], d[1] - 1), {}, "labels from -1 to 1"),
    "float labels": (lambda d: (d[0], d[1].astype("float32")), {}, "integer class numbers"),
    "one-hot labels": (
        lambda d: (d[0], np.eye(3, dtype="int32")[d[1]]),
        {},
        "or use the loss 'categorical_crossentropy'",
    ),
    "lengths": (lambda d: (d[0], d[1][:-1]), {}, "same length, got x: 70, y: 69"),
    "weights' length": (lambda d: (*d, np.ones(69, "f")), {}, "same length, got x: 70, y: 70, sample_weight: 69"),
    "weights' shape": (
        lambda d: (*d, np.ones((70, 1), "f")),
        {},
        r"sample_weight: expected weights of shape \(batch,\).*\[:, 0\]",
    ),
    "negative weights": (lambda d: (*d, -np.ones(70, "f")), {}, "weights of at least 0"),
    "no data": (lambda d: (d[0][:0], d[1][:0]), {}, "at least one example, got none"),
    "only x": (lambda d: d[0], {}, r"expected \(x, y\) or \(x, y, sample_weight\), got float32"),
    "a batch of one item": (
        lambda d: [first(d), first(d), (d[0],)],
        {},
        r"batch 2: expected \(x, y\) or .*, got 1 item",
    ),
    "a batch's weights": (
        lambda d: [first(d), (*d, np.ones((len(d[0]), 1)))],
        {},
        r"batch 1, sample_weight: expected weights of shape \(batch,\)",
    ),
    "validation of one item": (
        lambda d: d,
        {"validation_data": ([0],)},
        r"validation_data: expected \(x, y\) or \(x, y, sample_weight\)",
    ),
    "four items": (lambda d: (*d, *d), {}, r"\(x, y\) or \(x, y, sample_weight\), got 4 items"),
    "batch size 0": (lambda d: d, {"batch_size": 0}, "batch_size to be an integer of at least 1, got 0"),
    "batch size -3": (lambda d: d, {"batch_size": -3}, "got -3"),
    "batch size 2.5": (lambda d: d, {"batch_size": 2.5}, r"got 2\.5"),
    "epochs 0": (lambda d: d, {"epochs": 0}, "epochs to be an integer of at least 1"),
    "verbose": (lambda d: d, {"verbose": 7}, "verbose 0, 1 or 2"),
    "nan": (bad, {}, r"1 NaN or infinite values, the first at index \(3, 2\)"),
    "infinity": (lambda d: bad(d, (69, 0), np.inf), {}, r"data, x: .* the first at index \(69, 0\)"),
    "width": (
        lambda d: (d[0][:, :4], d[1]),
        {},
        r"layer 'dense' \(position 0\) > dense: expected x of shape \(batch, 5\)",
    ),
    "rank": (lambda d: (d[0][:, :, None], d[1]), {}, r"layer 'dense' \(position 0\)"),
    "integers": (lambda d: (d[0].astype("int32"), d[1]), {}, "floating-point x, got int32"),
    "text": (lambda d: (d[0].astype(str), d[1]), {}, "an array of numbers"),
    "full batches only": (lambda d: d, {"batch_size": 71, "drop_remainder": True}, "at least one full batch"),
    "split of all": (lambda d: d, {"validation_split": 1.0}, r"validation_split in \[0, 1\), got 1"),
    "split of none": (lambda d: d, {"validation_split": 0.999}, "leaves rows on both sides"),
    "validation data": (
        lambda d: d,
        {"validation_data": (np.ones((4, 6), "f"), np.zeros(4, "i"))},
        r"validation_data > layer",
    ),
    "validation labels": (
        lambda d: d,
        {"validation_data": (np.ones((4, 5), "f"), np.full(4, 9))},
        r"validation_data > .*labels in",
    ),
    "class weights": (lambda d: d, {"class_weight": [1.0, 2.0]}, "3 weights, since labels go up to 2"),
    "empty stream": (lambda d: [], {}, "at least one batch, got none"),
    "stream and split": (lambda d: [d], {"validation_split": 0.5}, "arrays with validation_split"),
    "stream without its last batch": (
        lambda d: [d],
        {"drop_remainder": True},
        "arrays with drop_remainder, got a list",
    ),
    "used-up stream": (lambda d: iter([d]), {"epochs": 2}, "iterated over once per epoch"),
    "bad batch": (lambda d: [first(d), (d[0][:, :4], d[1])], {}, r"x of shape \(batch, 5\)"),
    "nan in a batch": (lambda d: [first(d), bad(d)], {}, "NaN"),
    "two validations": (lambda d: d, {"validation_split": 0.5, "validation_data": ()}, "either validation_data or"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_invalid_input_is_rejected(name, task, ts, data):
    make, options, match = ERRORS[name]
    with pytest.raises(fnn.InputError, match=match):
        fnn.fit(task, ts, make(data), **{"verbose": 0, **options})


def test_input_is_rejected_before_compilation(task, data):
    fresh = task.replace(optimizer=fnn.adam(1e-2))
    ts = fnn.init(fresh, jax.random.key(0), data[0][:1])
    with compilations() as count:
        for make, options, match in (ERRORS["labels above"], ERRORS["width"], ERRORS["nan"], ERRORS["float labels"]):
            with pytest.raises(fnn.InputError, match=match):
                fnn.fit(fresh, ts, make(data), verbose=0, **options)
    assert count() == 0


def test_states_of_other_models_are_rejected(task, ts, data):
    other = fnn.Task(fnn.Sequential(fnn.Dense(7), fnn.Dense(3)), task.loss, task.optimizer)
    stranger = fnn.init(other, jax.random.key(0), data[0])
    with pytest.raises(
        fnn.InputError, match=r"optimizer state, slots/momentum/dense/bias: expected shape \(8,\), got float32\[7\]"
    ):
        fnn.fit(task, ts._replace(opt_state=stranger.opt_state), data, verbose=0)
    with pytest.raises(fnn.InputError, match="one made for these parameters by this optimizer"):
        fnn.fit(task.replace(optimizer="rmsprop"), ts, data, verbose=0)
    deeper = fnn.Task(fnn.Sequential(fnn.Dense(8), fnn.Dense(3), fnn.Dense(3), fnn.Dense(2)), task.loss)
    with pytest.raises(fnn.InputError, match=r"got \['dense_2', 'dense_3'\]"):
        fnn.fit(task, fnn.init(deeper, jax.random.key(0), data[0]), data, verbose=0)
    with pytest.raises(fnn.InputError, match=r"a TrainState from fnn\.init"):
        fnn.fit(task, ts.params, data, verbose=0)
    for call in (fnn.fit, fnn.evaluate, fnn.predict, fnn.train_step, fnn.train_epoch, fnn.run):
        with pytest.raises(fnn.InputError, match=r"a TrainState from fnn\.init\(.*as second argument, got None"):
            call(task, None, data)
    with pytest.raises(fnn.InputError, match=r"an fnn\.Task as first argument"):
        fnn.fit(ts, task, data, verbose=0)


@pytest.mark.slow
def test_targets_of_other_losses():
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    y = np.array([0, 1, 1, 0, 1, 0])
    for loss, good, wrong, match in (
        ("binary_crossentropy", y, 2 * y - 1, "belong to the 'logistic' loss"),
        ("logistic", 2 * y - 1, y, r"Use 2 \* y - 1"),
        ("categorical_crossentropy", np.eye(2)[y], np.eye(2)[y] * 3, r"targets in \[0, 1\]"),
        ("mse", y * 1.0, np.full(6, np.inf), "data, y"),
    ):
        outputs = 2 if loss == "categorical_crossentropy" else 1
        task = fnn.Task(fnn.Dense(outputs), loss)
        ts = fnn.init(task, jax.random.key(0), x)
        fnn.evaluate(task, ts, (x, good))
        with pytest.raises(fnn.InputError, match=match):
            fnn.fit(task, ts, (x, wrong), verbose=0)
        with pytest.raises(fnn.InputError, match=match):
            fnn.evaluate(task, ts, (x, wrong))


def test_evaluate_and_predict_reject_invalid_input(task, ts, data):
    with pytest.raises(fnn.InputError, match="batch_size to be an integer"):
        fnn.evaluate(task, ts, data, batch_size=0)
    with pytest.raises(fnn.InputError, match="same length"):
        fnn.evaluate(task, ts, (data[0][:3], data[1]))
    with pytest.raises(fnn.InputError, match=r"x of shape \(batch, 5\)"):
        fnn.predict(task, ts, data[0][:, :3])
    with pytest.raises(fnn.InputError, match="NaN"):
        fnn.predict(task, ts, bad(data)[0])
    with pytest.raises(fnn.InputError, match="at least one example"):
        fnn.predict(task, ts, data[0][:0])
    with pytest.raises(fnn.InputError, match=r"a TrainState from fnn\.init"):
        fnn.predict(task, ts.params, data[0])


def test_overflowing_sums_of_finite_data_pass(ts, task, data):
    x = data[0].copy()
    x[:, 0] = 3e38
    for given in (x, jnp.asarray(x)):
        assert fnn.predict(task, ts, given).shape == (70, 3)


def test_a_loader_may_reuse_its_buffer():
    class Reused:
        def __iter__(self):
            x, y = np.empty((4096, 64), "f"), np.zeros((4096, 1), "f")
            for i in range(6):
                x[:] = i
                yield x, y

    task = fnn.Task(fnn.Dense(1, kernel_initializer="ones"), "mse", fnn.sgd(0.0))
    ts = fnn.init(task, jax.random.key(0), (64,))
    expected = np.mean([(64 * i) ** 2 for i in range(6)])
    for _ in range(3):
        assert fnn.fit(task, ts, Reused(), verbose=0)[1]["loss"][0] == pytest.approx(expected, 1e-5)
        assert fnn.evaluate(task, ts, Reused())["loss"] == pytest.approx(expected, 1e-5)


def test_batches_may_be_lists(task, ts, data):
    batches = list(Batches(data, 32))
    a, _ = fnn.fit(task, ts, batches, verbose=0)
    b, _ = fnn.fit(task, ts, [list(batch) for batch in batches], verbose=0)
    assert_equal(a, b)


def test_class_weights_apply_to_training_rows_only(task, ts, longer):
    _, plain = fnn.fit(task, ts, longer, validation_split=0.5, verbose=0)
    _, heavy = fnn.fit(task, ts, longer, validation_split=0.5, class_weight=[100.0] * 3, verbose=0)
    assert heavy["loss"][0] > 50 * plain["loss"][0]
    assert heavy["val_loss"][0] < 2 * plain["val_loss"][0]


def test_ctrl_c_in_the_last_steps_keeps_the_epoch(task, ts, data):
    class Press(list):
        def __iter__(self):
            yield self[0]
            signal.raise_signal(signal.SIGINT)
            yield self[1]

    _, history = fnn.fit(task, ts, Press(list(Batches(data, 32))[:2]), epochs=3, verbose=0)
    assert history.interrupted
    assert len(history["loss"]) == 1


def test_a_non_finite_loss_is_reported(task, ts, data):
    ts = fnn.set_hyper(ts, learning_rate=1e30)
    with pytest.warns(RuntimeWarning, match="the loss is .* in epoch 1. The learning rate may be too high"):
        _, history = fnn.fit(task, ts, data, epochs=3, verbose=0)
    assert len(history["loss"]) == 3


def test_keras_style_calls_get_a_hint(task, ts, data):
    with pytest.raises(fnn.InputError, match=r"Pass the data as one tuple: fit\(task, ts, \(x, y\)\)"):
        fnn.fit(task, ts, *data, verbose=0)
    with pytest.raises(fnn.InputError, match=r"evaluate\(task, ts, \(x, y\)\)"):
        fnn.evaluate(task, ts, *data)
    with pytest.raises(fnn.InputError, match="a list is read as a list of batches"):
        fnn.fit(task, ts, list(data), verbose=0)
    for call in (fnn.fit, fnn.evaluate, fnn.predict, fnn.train_step, fnn.train_epoch, fnn.run, fnn.init):
        with pytest.raises(fnn.InputError, match=r"an fnn.Task as first argument, got a Layer. Make one"):
            call(task.model, ts, data)
    with pytest.raises(fnn.InputError, match=r"inside fnn\.many, fnn\.sweep, jit, vmap or grad write fnn\.run"):
        jax.vmap(lambda key: fnn.fit(task, ts._replace(key=key), data))(jax.random.split(jax.random.key(0)))
    with pytest.raises(fnn.InputError, match=r"a function callback\(epoch, ts, logs\), got an int"):
        fnn.fit(task, ts, data, callbacks=3)
    with pytest.raises(fnn.InputError, match=r"raise fnn\.StopTraining"):
        fnn.fit(task, ts, data, callbacks=lambda epoch, ts, logs: fnn.StopTraining, verbose=0)

    def stop(epoch, ts, logs):
        raise fnn.StopTraining(ts.params)

    with pytest.raises(fnn.InputError, match="StopTraining: expected a TrainState to return, got a dict"):
        fnn.fit(task, ts, data, callbacks=stop, verbose=0)
    with pytest.raises(fnn.InputError, match="validation_data that can be iterated over once per epoch"):
        fnn.fit(task, ts, data, epochs=2, validation_data=iter([data]))
    with pytest.raises(fnn.InputError, match=r"got a function\. Call it"):
        fnn.fit(task, ts, (lambda: data, data[1]))
    with pytest.raises(fnn.InputError, match="a ragged list"):
        fnn.fit(task, ts, ([[1.0, 2.0], [3.0]], [0, 1]))


def test_a_metric_must_return_a_scalar(data):
    matrix = fnn.Metric("matrix", lambda p, t, w: p, lambda totals: totals)
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", metrics=(matrix,))
    with pytest.raises(fnn.InputError, match=r"metric 'matrix' > result: expected a scalar"):
        fnn.fit(task, fnn.init(task, jax.random.key(0), data[0]), data)


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float64", marks=pytest.mark.slow)])
def test_fit_under_strict_promotion(dtype, data, strict_promotion):
    def penalty(params):
        return sum((p**2).sum() for p in jax.tree.leaves(params))

    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", metrics=("accuracy",), penalty=penalty)
    x = data[0].astype(jnp.dtype(dtype))
    _, history = fnn.fit(task, fnn.init(task, jax.random.key(0), x), (x, data[1]), validation_split=0.2, verbose=0)
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(fnn.LSTM(3, input_dim=5), marks=pytest.mark.slow),
        pytest.param(fnn.Bidirectional(fnn.GRU(2, input_dim=5)), marks=pytest.mark.slow),
        fnn.Sequential(fnn.Embedding(5, 2), fnn.Flatten()),
        fnn.Sequential(fnn.OneHot(5), fnn.Flatten()),
    ],
    ids=["lstm", "gru", "embedding", "one_hot"],
)
def test_ids_outside_the_embedding_are_rejected_before_training(first):
    task = fnn.Task(fnn.Sequential(first, fnn.Dense(2)), "sparse_categorical_crossentropy", "sgd")
    x, y = np.array([[1, 2, 4], [0, 3, 1]]), np.array([0, 1])
    ts = fnn.init(task, jax.random.key(0), x)
    with pytest.raises(fnn.InputError, match=r"data, x: expected ids in \[0, 5\) for \w+, got ids from 1 to 5. Number"):
        fnn.fit(task, ts, (x + 1, y), verbose=0)
    with pytest.raises(fnn.InputError, match=r"ids in \[0, 5\) for \w+, got ids from -1 to 3"):
        fnn.evaluate(task, ts, [(x, y), (x - 1, y)])
    with pytest.raises(fnn.InputError, match=r"x: expected ids in \[0, 5\)"):
        fnn.predict(task, ts, x + 1)


def test_errors_suggest_a_cause(task, ts, data):
    x, y = data
    match = r"a pair, \(TrainState, History\)\. fit returns \(ts, history\): write ts, history = fnn\.fit"
    with pytest.raises(fnn.InputError, match=match):
        fnn.evaluate(task, fnn.fit(task, ts, data, verbose=0), data)
    with pytest.raises(fnn.InputError, match=r"Are x and y swapped\?"):
        fnn.fit(task, ts, (y, x), verbose=0)
    with pytest.raises(fnn.InputError) as caught:
        fnn.fit(task, ts, (x[:, 0], y), verbose=0)
    assert "swapped" not in str(caught.value)
    assert "another shape" not in str(caught.value)

    flat = fnn.Task(fnn.Sequential(fnn.Flatten(), fnn.Dense(3)), "sparse_categorical_crossentropy")
    images = np.ones((70, 4, 2), "f")
    for example in (images[0], images.shape):
        made = fnn.init(flat, jax.random.key(0), example)
        for call in (fnn.fit, fnn.evaluate, lambda task, ts, data: fnn.predict(task, ts, data[0])):
            with pytest.raises(
                fnn.InputError, match=r"for inputs of another shape\? fnn\.init takes .* such as x\[:1\]"
            ):
                call(flat, made, (images, y))

    with pytest.raises(fnn.InputError, match=r"got a Dataset of 4 fields\. Pass the tuple \(data\.x, data\.y\)"):
        fnn.fit(task, ts, fnn.data.Dataset(x, y, (), ()), verbose=0)
    with pytest.raises(fnn.InputError, match=r"^validation_data: .*Pass the tuple \(data\.x, data\.y\)"):
        fnn.fit(task, ts, data, validation_data=fnn.data.Dataset(x, y, (), ()), verbose=0)
    with pytest.raises(fnn.InputError, match=r"Pass the tuple \(data\.x_train, data\.y_train\)"):
        fnn.evaluate(task, ts, fnn.data.Images(x, y, x[:2], y[:2], ()))
    with pytest.raises(fnn.InputError, match=r"got a Dataset of 4 fields\. Pass data\.x\."):
        fnn.predict(task, ts, fnn.data.Dataset(x, y, (), ()))


def test_a_split_of_sorted_rows_warns(task, ts, longer):
    x, y = longer[0][:105], np.repeat(np.arange(3), 35)
    with pytest.warns(RuntimeWarning, match=r"100% of the validation rows .* sorted by class\? Shuffle"):
        fnn.fit(task, ts, (x, y), validation_split=1 / 3, verbose=0)
    fnn.fit(task, ts, (x, y % 2), validation_split=1 / 3, verbose=0)


def test_fit_prints_when_a_callback_stops(task, ts, data, capsys):
    stop = fnn.early_stopping("loss", patience=2, min_delta=1.0)
    fnn.fit(task, ts, data, epochs=9, callbacks=[stop], verbose=2)
    assert capsys.readouterr().out.endswith("stopped after epoch 3; the state of step 3 is returned\n")
    fnn.fit(task, ts, data, epochs=9, callbacks=[stop], verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_counts_may_be_numpy_integers(task, ts, data):
    def calls(integer):
        sizes = {"epochs": integer(1), "batch_size": integer(32)}
        fnn.fit(task, ts, data, **sizes, verbose=0)
        fnn.run(task, ts, data, **sizes)
        fnn.train_epoch(task, ts, data, batch_size=integer(32))
        fnn.evaluate(task, ts, data, batch_size=integer(32))
        fnn.predict(task, ts, data[0], batch_size=integer(32))

    calls(int)
    with compilations() as count:
        calls(np.int64)
    assert count() == 0


def test_an_input_without_an_axis_gets_the_one_to_add():
    def predict(model, shape, given, words):
        task = fnn.Task(model, "mse")
        with pytest.raises(fnn.InputError) as caught:
            fnn.predict(task, fnn.init(task, jax.random.key(0), shape), np.ones(given, "f"))
        assert str(caught.value).endswith(words)

    images = fnn.Sequential(fnn.Conv(2, 3), fnn.Flatten(), fnn.Dense(3))
    # The layer's own advice names both, so it is not said twice.
    predict(images, (8, 8, 1), (8, 8, 1), "Add the channels with x[..., None], or the batch with x[None].")
    predict(images, (8, 8, 1), (5, 8, 8), "Add the channels with x[..., None], or the batch with x[None].")
    predict(images, (8, 8, 1), (8, 8), "For one example of one channel, write x[None, ..., None].")
    predict(fnn.LSTM(2), (5, 3), (5, 3), "For one example, write x[None].")
    flat = fnn.Sequential(fnn.Flatten(), fnn.Dense(3))
    either = (
        "For one example, write x[None]. Or was the state made for inputs of another shape? fnn.init takes some rows"
    )
    predict(flat, (8, 8, 1), (8, 8, 1), f"{either} of the input, such as x[:1].")


def test_no_axis_is_suggested_where_the_input_fits(task, ts, data):
    x, y = data
    with pytest.raises(fnn.InputError) as caught:
        fnn.fit(task, ts, (x, np.stack([y, y], -1)), verbose=0)
    assert "None]" not in str(caught.value)
