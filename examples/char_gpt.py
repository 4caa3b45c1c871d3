"""A small transformer writes like Nietzsche, after the same time of training as the LSTM of experiment 8.

    FNN_DATA=/path/to/data python examples/char_gpt.py

char_lstm.py predicts one character from the 40 before it. Here, causal attention predicts each of 128 characters from
all those before it: three blocks of attention and dense layers (pre-norm, rotary positions), 0.16 million parameters.
Both models train for the time that the LSTM takes for two epochs. Then both predict the last 5 % of the text, each
character from at least 40 others. At the end the transformer continues a passage at four temperatures. With its cache
of keys and values, each character is read once; without one, the whole window is read again for every character.

On two busy CPU cores, with 178 seconds each, the LSTM reached 1.57 and the transformer 1.43 after 4,100 steps. Size
decides: time on a CPU grows with parameters times characters, so a small model and small batches allow many updates.
With 0.8 million parameters and batches of 4,096 characters, there was time for 150 steps, and the loss was 2.01.
"""

import argparse
import time

import experiment
import numpy as np

import fnn

LSTM_WIDTH, WIDTH, TEMPERATURES = 40, 128, (0.2, 0.5, 1.0, 1.2)
BATCH, RATE = 4, 3e-3
LOSS = "sparse_categorical_crossentropy"


def transformer(symbols: int, features: int, heads: int = 4, blocks: int = 3) -> fnn.Layer:
    attend = fnn.MultiHeadAttention(heads, features // heads, causal=True, rotary=True, use_bias=False)
    block = fnn.Sequential(
        fnn.Residual(fnn.RMSNorm(), attend),
        fnn.Residual(fnn.RMSNorm(), fnn.Dense(4 * features, activation="relu"), fnn.Dense(features)),
    )
    # One compiled block, whatever their number.
    return fnn.Sequential(
        fnn.Embedding(symbols, features), fnn.Repeated(block, blocks), fnn.RMSNorm(), fnn.Dense(symbols)
    )


def train(task: fnn.Task, ts: fnn.TrainState, ids: np.ndarray, seconds: float, seed: int) -> fnn.TrainState:
    """Train for a time, compilation included; the learning rate rises for 5 % of it, and then falls to 0."""
    rng, start = np.random.default_rng(seed), time.perf_counter()
    while (done := (time.perf_counter() - start) / seconds) < 1:
        rate = RATE * min(1, 0.01 + done / 0.05) * (1 + np.cos(np.pi * done)) / 2
        # A batch holds random excerpts, and for each of their characters the next one.
        rows = ids[rng.integers(len(ids) - WIDTH, size=(100 * BATCH, 1)) + np.arange(WIDTH + 1)]
        ts = fnn.set_hyper(ts, learning_rate=rate)
        ts, _ = fnn.fit(task, ts, (rows[:, :-1], rows[:, 1:]), epochs=1, batch_size=BATCH, verbose=0)
    return ts


def held_out_loss(task: fnn.Task, ts: fnn.TrainState, held_out: np.ndarray) -> float:
    """The mean loss of all characters after the first 40, each predicted from at least 40 others, as by the LSTM."""
    rows = np.lib.stride_tricks.sliding_window_view(held_out, WIDTH + 1)[:: WIDTH + 1 - LSTM_WIDTH]
    scores = fnn.predict(task, ts, rows[:, :-1])[:, LSTM_WIDTH - 1 :]
    return float(fnn.losses.sparse_categorical_crossentropy(scores, rows[:, LSTM_WIDTH:]).mean())


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


def write(task: fnn.Task, ts: fnn.TrainState, vocabulary: fnn.text.Vocabulary, prompt: str, length: int) -> None:
    """Continue a passage at four temperatures, and measure the speed with and without the cache."""

    def text(**options: float) -> str:
        key = experiment.key(0)
        return fnn.text.generate_text(task, ts, vocabulary, prompt, key, length=length, **options)

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
    vocabulary = fnn.text.Vocabulary.of(text)
    ids, held_out = np.split(vocabulary.encode(text), [int(0.95 * len(text))])
    model = transformer(vocabulary.size, features=32 if args.quick else 64)
    task = fnn.Task(model, LOSS, fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(RATE, beta_2=0.99)))
    print(fnn.summary(task, ids[None, :WIDTH]))

    losses, targets = [], []
    for seed in experiment.seeds(args):
        target, seconds = train_lstm(ids, held_out, vocabulary.size, args, seed)
        ts = train(task, fnn.init(task, experiment.key(seed), ids[None, :WIDTH]), ids, seconds, seed)
        losses.append(held_out_loss(task, ts, held_out))
        targets.append(target)
        steps = int(ts.step)
        print(f"{seconds:.0f} s each: LSTM {target:.4f}, transformer {losses[-1]:.4f} after {steps:,} steps")

    write(task, ts, vocabulary, text[:LSTM_WIDTH], length=20 if args.quick else WIDTH - LSTM_WIDTH)
    what = "transformer on Nietzsche: held-out loss after the time of the LSTM's training"
    return [experiment.Figure(8, what, losses, float(np.mean(targets)), "at most")]


if __name__ == "__main__":
    experiment.main(run, __doc__)
