"""A small transformer writes like Nietzsche, after the same time of training as the LSTM of experiment 8.

    FNN_DATA=/path/to/data python examples/char_gpt.py

char_lstm.py predicts one character from the 40 before it. Here, causal attention predicts each of 256 characters from
all those before it: four blocks of attention and dense layers (pre-norm, rotary positions), 0.8 million parameters.
Both models train for the time that the LSTM takes for two epochs, and both are evaluated on the last 5 % of the text.
Then the transformer continues a passage at four temperatures. With its cache of keys and values, each character is
read once; without one, the whole window is read again for every character.

On two busy CPU cores, with 192 seconds each, the LSTM reached 1.57 and the transformer 2.01 after 150 steps: on a CPU,
the small LSTM learns more per second.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import experiment
import numpy as np

import fnn

LSTM_WIDTH, WIDTH, TEMPERATURES = 40, 256, (0.2, 0.5, 1.0, 1.2)
LOSS = "sparse_categorical_crossentropy"
Pairs = tuple[np.ndarray, np.ndarray]


def transformer(symbols: int, features: int = 128, heads: int = 4, blocks: int = 4) -> fnn.Layer:
    attend = fnn.MultiHeadAttention(heads, features // heads, causal=True, rotary=True)
    block = fnn.Sequential(
        fnn.Residual(fnn.RMSNorm(), attend),
        fnn.Residual(fnn.RMSNorm(), fnn.Dense(4 * features, activation="gelu"), fnn.Dense(features)),
    )
    # One compiled block, whatever their number.
    return fnn.Sequential(
        fnn.Embedding(symbols, features), fnn.Repeated(block, blocks), fnn.RMSNorm(), fnn.Dense(symbols)
    )


class Excerpts:
    """An epoch of 50 batches: random excerpts, and for each of their characters the next one."""

    def __init__(self, ids: np.ndarray, width: int, batch: int, seed: int) -> None:
        self.ids, self.width, self.batch, self.rng = ids, width, batch, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Pairs]:
        for _ in range(50):
            starts = self.rng.integers(len(self.ids) - self.width, size=(self.batch, 1))
            yield each_next(self.ids[starts + np.arange(self.width + 1)])


def each_next(rows: np.ndarray) -> Pairs:
    return rows[:, :-1], rows[:, 1:]


def stop_after(seconds: float) -> Callable[..., None]:
    """A callback that stops training after a time, compilation included."""
    start = time.perf_counter()

    def callback(epoch: int, ts: fnn.TrainState, logs: dict[str, float]) -> None:
        if time.perf_counter() - start > seconds:
            raise fnn.StopTraining

    return callback


def train_lstm(
    ids: np.ndarray, held_out: np.ndarray, symbols: int, args: argparse.Namespace, seed: int
) -> tuple[float, float]:
    """The held-out loss of experiment 8's model, and the seconds that its training took."""
    x, y = fnn.text.windows(ids, LSTM_WIDTH, step=3)
    task = fnn.Task(fnn.Sequential(fnn.LSTM(128, input_dim=symbols), fnn.Dense(symbols)), LOSS, fnn.rmsprop(0.01))
    start = time.perf_counter()
    ts = fnn.init(task, experiment.key(seed), x[:1])
    ts, _ = fnn.fit(task, ts, (x, y), epochs=1 if args.quick else 2, batch_size=128)
    seconds = time.perf_counter() - start
    return fnn.evaluate(task, ts, fnn.text.windows(held_out, LSTM_WIDTH))["loss"], seconds


def write(model: fnn.Layer, ts: fnn.TrainState, vocabulary: fnn.text.Vocabulary, prompt: str, length: int) -> None:
    """Continue a passage at four temperatures, and measure the speed with and without the cache."""

    def text(**options: float) -> str:
        key = experiment.key(0)
        return fnn.text.generate_text(model, ts.params, ts.state, vocabulary, prompt, key, length=length, **options)

    print(f"\nfrom {prompt!r}")
    for temperature in TEMPERATURES:
        print(f"\n--- temperature {temperature}\n{prompt}|{text(temperature=temperature)}")
    for name, options in (("with a cache", {}), ("without", {"width": len(prompt)})):
        text(**options)  # compiles
        start = time.perf_counter()
        text(**options)
        print(f"{length / (time.perf_counter() - start):,.0f} characters a second {name}")


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    text = fnn.data.nietzsche(args.data).lower()
    text = text[:20_000] if args.quick else text
    width = 64 if args.quick else WIDTH
    vocabulary = fnn.text.Vocabulary.of(text)
    ids = vocabulary.encode(text)
    ids, held_out = np.split(ids, [int(0.95 * len(ids))])
    model = transformer(vocabulary.size, features=32 if args.quick else 128)
    task = fnn.Task(model, LOSS, fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(1e-3)))
    print(fnn.summary(task, ids[None, :width]))

    losses, targets = [], []
    for seed in experiment.seeds(args):
        target, seconds = train_lstm(ids, held_out, vocabulary.size, args, seed)
        ts = fnn.init(task, experiment.key(seed), ids[None, :width])
        excerpts = Excerpts(ids, width, batch=16, seed=seed)
        ts, _ = fnn.fit(task, ts, excerpts, epochs=10_000, callbacks=[stop_after(seconds)], verbose=0)
        whole = len(held_out) // width * width - width
        rows = np.lib.stride_tricks.sliding_window_view(held_out, width + 1)[:whole:width]
        losses.append(fnn.evaluate(task, ts, each_next(rows))["loss"])
        targets.append(target)
        steps = int(ts.step)
        print(f"{seconds:.0f} s each: LSTM {target:.4f}, transformer {losses[-1]:.4f} after {steps} steps")

    write(model, ts, vocabulary, text[:LSTM_WIDTH], length=20 if args.quick else WIDTH - LSTM_WIDTH)
    what = "transformer on Nietzsche: held-out loss after the time of the LSTM's training"
    return [experiment.Figure(8, what, losses, float(np.mean(targets)), "at most")]


if __name__ == "__main__":
    experiment.main(run, __doc__)
