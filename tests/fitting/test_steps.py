"""Functions that are called after steps, and epochs of a given number of steps."""

import itertools

import jax
import numpy as np
import pytest
from helpers import compilations

import fnn
from fnn.fitting import checkpoints, inputs

TASK = fnn.Task(fnn.Sequential(fnn.Dense(4, activation="tanh"), fnn.Dense(1)), "mse", fnn.adam(0.05), ("mae",))
X = np.random.default_rng(0).normal(size=(44, 3)).astype("f")
Y = np.sin(X.sum(1, keepdims=True))
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 44, 4)]  # 11 of them


@pytest.fixture(scope="module")
def ts():
    return fnn.init(TASK, jax.random.key(0), X[:1])


def fit(ts, data=(X, Y), **options):
    return fnn.fit(TASK, ts, data, **{"epochs": 3, "batch_size": 4, "verbose": 0, **options})


def same(a, b):
    return fnn.fingerprint(a[0]) == fnn.fingerprint(b[0]) and {**a[1], "seconds": 0} == {**b[1], "seconds": 0}


@pytest.fixture(scope="module")
def plain(ts):
    return fit(ts)


# ---------------------------------------------------------------------------------------------------------- on_batch
@pytest.mark.parametrize("every", [1, 4, 11, 100])
def test_calls_change_no_bit_and_come_at_their_steps(every, ts, plain):
    seen = []
    with compilations() as count:
        result = fit(ts, callbacks=[fnn.on_batch(lambda step, logs: seen.append((step, logs)), every=every)])
    assert count() == 0, "the same program in smaller parts"
    assert same(result, plain)
    assert [step for step, _ in seen] == list(range(every, 34, every))
    assert all(list(logs) == ["loss", "mae"] for _, logs in seen)
    if every == 11:
        assert [logs["loss"] for _, logs in seen] == result[1]["loss"]  # at the end of each epoch


@pytest.mark.parametrize("data", [(X, Y), BATCHES], ids=["chunks", "batches"])
def test_calls_in_other_sources(data, ts):
    options = {"shuffle": False, **({"chunk_bytes": 200} if isinstance(data, tuple) else {})}
    seen = []
    result = fit(ts, data, **options, callbacks=fnn.on_batch(lambda step, logs: seen.append(step), every=3))
    assert same(result, fit(ts, data, **options))
    assert seen == list(range(3, 34, 3))


def test_the_state_is_that_of_the_step(ts):
    steps, kept = [], []

    def keep(step, ts, logs):
        steps.append((step, int(ts.step)))
        kept.append(ts)

    result, _ = fit(ts, epochs=1, callbacks=fnn.on_batch(keep))
    assert steps == [(i, i) for i in range(1, 12)]
    by_hand = ts
    order = fnn.epoch_order(ts, 44)
    for i in range(3):
        rows = order[4 * i : 4 * i + 4]
        by_hand, _ = fnn.train_step(TASK, by_hand, (X[rows], Y[rows]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), kept[2].params, by_hand.params)
    assert fnn.fingerprint(kept[-1]) == fnn.fingerprint(result)


def test_a_call_may_change_the_state(ts, plain):
    """A schedule by hand, like that of an optimizer."""
    schedule = fnn.schedules.exponential_decay(0.05, 5, 0.5)

    def slower(step, ts, logs):
        return fnn.set_hyper(ts, learning_rate=float(schedule(step)))

    result, history = fit(ts, epochs=2, callbacks=fnn.on_batch(slower), check="finite")
    scheduled = TASK.replace(optimizer=fnn.adam(schedule))
    start = fnn.init(scheduled, jax.random.key(0), X[:1])
    want, seen = fnn.fit(scheduled, start, (X, Y), epochs=2, batch_size=4, verbose=0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), result.params, want.params)
    np.testing.assert_allclose(history["loss"], seen["loss"], 1e-5)
    assert history["loss"][1] != plain[1]["loss"][1]


def test_a_call_may_stop(ts):
    called = []

    def impatient(step, logs):
        if step == 15:
            raise fnn.StopTraining

    def note(epoch, logs):
        called.append((epoch, sorted(logs)))

    result, history = fit(ts, validation_data=(X, Y), callbacks=[fnn.on_batch(impatient), note])
    assert int(result.step) == 15
    assert len(history["val_loss"]) == 2
    assert called == [(i, ["loss", "mae", "seconds", "val_loss", "val_mae"]) for i in (0, 1)]

    def back(step, now, logs):
        raise fnn.StopTraining(ts)

    assert fnn.fingerprint(fit(ts, callbacks=fnn.on_batch(back))[0]) == fnn.fingerprint(ts)
    best = fnn.early_stopping("loss")
    stopped, history = fit(ts, callbacks=[fnn.on_batch(impatient), best])
    assert int(stopped.step) == (11, 15)[int(np.argmin(history["loss"]))]


class Counter:
    """A callback of batches that keeps a state."""

    def __init__(self):
        self.steps = []

    def __call__(self, step, logs):
        self.steps.append(step)

    def state(self):
        return self.steps

    def restore(self, state):
        self.steps = list(state)


def test_calls_of_a_resumed_run(ts, plain, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    counter, original, saves = Counter(), checkpoints.save_with, []

    def save(*args, **kwargs):
        original(*args, **kwargs)
        saves.append(1)
        if len(saves) == 3:
            raise Killed

    monkeypatch.setattr(checkpoints, "save_with", save)
    options = {"checkpoint": tmp_path / "run", "every": 7}
    with pytest.raises(Killed):
        fit(ts, callbacks=fnn.on_batch(counter, every=2), **options)
    assert counter.steps == list(range(2, 15, 2))
    counter = Counter()
    assert same(fit(ts, callbacks=fnn.on_batch(counter, every=2), **options), plain)
    assert counter.steps == list(range(2, 34, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fnn.on_batch(3), r"on_batch: expected a function callback\(step, ts, logs\), got an int"),
        (lambda: fnn.on_batch(lambda logs: None), r"callback\(step, ts, logs\), got <lambda>, which does not accept"),
        (lambda: fnn.on_batch(print, every=0), "on_batch: expected every to be an integer of at least 1, got 0"),
        (lambda: fnn.fit(TASK, None, None, callbacks=[fnn.on_batch]), "a TrainState"),
    ],
)
def test_errors_of_on_batch(make, message):
    with pytest.raises(fnn.InputError, match=message):
        make()


def test_callbacks_of_keras(ts):
    """Functions of (epoch, logs) work; its objects are refused."""
    seen = []

    class Recorder:
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, logs["loss"]))
            return "ignored"

    _, history = fit(ts, epochs=2, callbacks=[Recorder().on_epoch_end])
    assert seen == list(enumerate(history["loss"]))
    with pytest.raises(fnn.InputError, match=r"got a Recorder\. .* write a function of \(epoch, logs\)\."):
        fit(ts, callbacks=[Recorder()])
    with pytest.raises(fnn.InputError, match=r"call it: on_batch\(\.\.\.\)"):
        fit(ts, callbacks=[fnn.on_batch])
    with pytest.raises(fnn.InputError, match=r"expected None or a TrainState"):
        fit(ts, callbacks=fnn.on_batch(lambda step, ts, logs: 3))


# --------------------------------------------------------------------------------------------------- steps_per_epoch
def endless():
    while True:
        yield from BATCHES


def longer(count):
    """The first batches of `endless` as epochs of 4 steps, trained one after the other."""
    return list(itertools.islice(endless(), count))


@pytest.mark.parametrize(
    "make",
    [endless, lambda: BATCHES, lambda: itertools.cycle(BATCHES), lambda: fnn.data.Stream(lambda epoch: BATCHES)],
    ids=["a generator", "a list", "a cycle", "a stream"],
)
def test_epochs_continue_through_the_data(make, ts):
    result, history = fit(ts, make(), epochs=5, steps_per_epoch=4)
    want, losses = ts, []
    for epoch in range(5):
        want, part = fit(want, longer(20)[4 * epoch : 4 * epoch + 4], epochs=1)
        losses += part["loss"]
    assert fnn.fingerprint(result) == fnn.fingerprint(want)
    assert history["loss"] == losses


def test_no_batch_is_taken_in_advance(ts):
    stream = iter(longer(30))
    fit(ts, stream, epochs=2, steps_per_epoch=4)
    assert len(list(stream)) == 22


def test_more_steps_than_a_pass_has(ts):
    """A pass begins inside an epoch, and each has a number."""
    seen = []

    def make(epoch):
        seen.append(epoch)
        return BATCHES

    result, history = fit(ts, fnn.data.Stream(make, length=11), epochs=2, steps_per_epoch=16)
    assert seen == [0, 1, 2]
    assert (int(result.step), len(history["loss"])) == (32, 2)


@pytest.mark.parametrize(("batches", "epochs"), [(6, 2), (8, 2), (9, 3)])
def test_an_iterator_that_runs_out_ends_the_training_with_a_warning(batches, epochs, ts):
    stop = fnn.early_stopping("loss", patience=9, restore_best=False)
    with pytest.warns(
        RuntimeWarning, match=rf"ran out of batches after step {batches} of 3 epochs of 4 steps\. Training"
    ):
        result, history = fit(ts, iter(longer(batches)), epochs=3, steps_per_epoch=4, callbacks=stop)
    assert len(history["loss"]) == epochs
    assert fnn.fingerprint(result.params) == fnn.fingerprint(fit(ts, longer(batches), epochs=1)[0].params)


def test_an_iterator_may_run_out_between_two_epochs(ts):
    with pytest.warns(RuntimeWarning, match="ran out of batches after step 4 of 3 epochs of 4 steps"):
        result, history = fit(ts, iter(longer(4)), epochs=3, steps_per_epoch=4)
    assert (int(result.step), len(history["loss"])) == (4, 1)


@pytest.mark.parametrize("saved", [7, 8, 14], ids=["at the end of a pass", "after it", "at the end of the second"])
def test_a_run_killed_between_passes_continues(saved, ts, tmp_path, monkeypatch):
    """The stream of a checkpoint at the end of a pass of 6 batches has none left in that pass."""
    original, saves = checkpoints.save_with, []

    def save(*args, **kwargs):
        original(*args, **kwargs)
        saves.append(1)
        if len(saves) == saved:
            raise KeyError("killed")

    def train(**options):
        data = fnn.data.Shuffled(fnn.data.Stream(lambda epoch: BATCHES[:6]), rows=8, seed=1)
        return fit(ts, data, epochs=5, steps_per_epoch=4, **options)

    want = train()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_with", save)
        with pytest.raises(KeyError, match="killed"):
            train(checkpoint=tmp_path, every=1)
    assert same(train(checkpoint=tmp_path, every=1), want)
    assert int(want[0].step) == 20


@pytest.mark.parametrize("stateful", [False, True], ids=["a list", "a stream"])
@pytest.mark.parametrize("every", ["epoch", 3])
def test_a_killed_run_continues_at_its_batch(stateful, every, ts, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def train(**options):
        data = fnn.data.Stream(lambda epoch: BATCHES[epoch % 3 :]) if stateful else BATCHES
        return fit(ts, data, epochs=5, steps_per_epoch=5, **options)

    original, saves = checkpoints.save_with, []

    def save(*args, **kwargs):
        original(*args, **kwargs)
        saves.append(1)
        if len(saves) == 4:
            raise Killed

    options = {"checkpoint": tmp_path / "run", "every": every}
    want = train()
    monkeypatch.setattr(checkpoints, "save_with", save)
    with pytest.raises(Killed):
        train(**options)
    assert same(train(**options), want)
    with pytest.raises(fnn.InputError, match="steps_per_epoch 5, as in the run saved there, got 6"):
        fit(
            ts,
            BATCHES if not stateful else fnn.data.Stream(lambda epoch: BATCHES),
            steps_per_epoch=6,
            epochs=5,
            **options,
        )


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y), {"steps_per_epoch": 5}, r"an iterable of batches with steps_per_epoch, got arrays\. Leave it out"),
        (BATCHES, {"steps_per_epoch": 0}, "steps_per_epoch to be an integer of at least 1, got 0"),
        (BATCHES, {"steps_per_epoch": 2.5}, r"steps_per_epoch to be an integer of at least 1, got 2\.5"),
        ([], {"steps_per_epoch": 3}, "at least one batch, got none"),
        (iter([]), {"steps_per_epoch": 3}, "at least one batch, got none"),
        (itertools.cycle(BATCHES), {"epochs": 1}, r"an iterable that ends, got a cycle, which is endless\. Pass steps"),
        (itertools.repeat(BATCHES[0]), {"epochs": 1}, r"an iterable that ends, got a repeat, which is endless"),
        (endless(), {"epochs": 2}, r"once per epoch, got a generator\. .* For an endless one, pass steps_per_epoch"),
        (
            endless(),
            {"steps_per_epoch": 2, "validation_data": endless()},
            "validation_data that .*, pass valid",
        ),
    ],
)
def test_errors_of_steps_per_epoch(data, options, message, ts):
    with pytest.raises(fnn.InputError, match=message):
        fit(ts, data, **options)


def test_arguments_of_keras(ts):
    with pytest.raises(TypeError, match=r"'validation_batch_size'\. Write eval_batch_size=3\."):
        fit(ts, validation_batch_size=3)


# ------------------------------------------------------------------------------------------ steps, validation_steps
@pytest.mark.parametrize(
    "make",
    [endless, lambda: BATCHES, lambda: itertools.cycle(BATCHES), lambda: fnn.data.Stream(lambda epoch: BATCHES)],
    ids=["a generator", "a list", "a cycle", "a stream"],
)
def test_steps_batches_are_measured(make, ts):
    want = fnn.evaluate(TASK, ts, BATCHES[:3])
    assert fnn.evaluate(TASK, ts, make(), steps=3) == want
    assert want != fnn.evaluate(TASK, ts, BATCHES[:4])
    history = fit(ts, BATCHES, epochs=2, validation_data=make(), validation_steps=3)[1]
    assert history["val_loss"] == fit(ts, BATCHES, epochs=2, validation_data=BATCHES[:3])[1]["val_loss"]


def test_no_more_batches_are_read_than_asked_for(ts):
    stream = iter(longer(10))
    fnn.evaluate(TASK, ts, stream, steps=3)
    fit(ts, BATCHES, epochs=2, validation_data=stream, validation_steps=2)
    assert len(list(stream)) == 5


def test_a_loader_that_refills_its_buffers_validates_on_what_it_gave(ts):
    def refilled():
        x, y = np.empty_like(BATCHES[0][0]), np.empty_like(BATCHES[0][1])
        for batch in BATCHES:
            x[:], y[:] = batch
            yield x, y

    history = fit(ts, BATCHES, epochs=2, validation_data=refilled(), validation_steps=3)[1]
    assert history["val_loss"] == fit(ts, BATCHES, epochs=2, validation_data=BATCHES[:3])[1]["val_loss"]


def test_fewer_batches_than_steps_give_a_warning(ts):
    count = len(BATCHES)
    with pytest.warns(RuntimeWarning, match=rf"data: the iterable gave {count} of 100 batches"):
        assert fnn.evaluate(TASK, ts, BATCHES, steps=100) == fnn.evaluate(TASK, ts, BATCHES)
    with pytest.warns(RuntimeWarning, match=rf"validation_data: the iterable gave {count} of 100 batches"):
        fit(ts, BATCHES, validation_data=BATCHES, validation_steps=100)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y), {"steps": 5}, r"an iterable of batches with steps, got arrays\. Leave it out"),
        (BATCHES, {"steps": 0}, "steps to be an integer of at least 1, got 0"),
        ([], {"steps": 2}, "at least one batch, got none"),
        (itertools.cycle(BATCHES), {}, r"evaluate: expected an iterable that ends, got a cycle.*endless\. Pass steps"),
        (itertools.repeat(BATCHES[0]), {}, "an iterable that ends, got a repeat"),
        (endless, {}, r"got a generator function\. Pass fnn\.data\.Stream\(endless\), with the epoch"),
    ],
)
def test_errors_of_steps(data, options, message, ts):
    with pytest.raises(fnn.InputError, match=message):
        fnn.evaluate(TASK, ts, data, **options)
    validation = {"validation_steps": options["steps"]} if options else {}
    message = message.replace("steps", "validation_steps").replace("evaluate", "fit")
    with pytest.raises(fnn.InputError, match=message):
        fit(ts, BATCHES, validation_data=data, **validation)


def test_steps_per_epoch_with_an_iterator_to_validate_on_needs_validation_steps(ts):
    with pytest.raises(fnn.InputError, match=r"validation_steps with an iterator .*, got a generator without"):
        fit(ts, endless(), epochs=1, steps_per_epoch=2, validation_data=endless(), batch_size=None)
    fit(ts, endless(), epochs=1, steps_per_epoch=2, validation_data=iter(BATCHES), batch_size=None)


def test_an_iterator_that_goes_on_and_on_is_told(ts, monkeypatch):
    monkeypatch.setattr(inputs, "MANY", 2)
    words = r"evaluate: 2 batches of a list_iterator were read\. If it never ends, pass steps"
    with pytest.warns(RuntimeWarning, match=words):
        fnn.evaluate(TASK, ts, iter(BATCHES))
    fnn.evaluate(TASK, ts, iter(BATCHES), steps=2)
    fnn.predict(TASK, ts, itertools.islice(iter(BATCHES), 2))
    with pytest.warns(RuntimeWarning, match=r"If it never ends, pass itertools\.islice"):
        fnn.predict(TASK, ts, iter(BATCHES))


def test_validation_steps_without_validation_data(ts):
    with pytest.raises(fnn.InputError, match=r"an iterable as validation_data with validation_steps, got none"):
        fit(ts, BATCHES, validation_steps=2)


def test_a_bounded_repeat_ends(ts):
    assert int(fit(ts, itertools.repeat(BATCHES[0], 5), epochs=1)[0].step) == 5
    assert fnn.evaluate(TASK, ts, itertools.repeat(BATCHES[0], 2)) == fnn.evaluate(TASK, ts, BATCHES[:1] * 2)
