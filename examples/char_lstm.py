"""Learn to write like Nietzsche, character by character (reference experiment 8).

    FNN_DATA=/path/to/data python examples/char_lstm.py

Windows of 40 characters at every third position, LSTM(128), a dense layer with 57 outputs (one per symbol), RMSprop
0.01, batch 128, 2 epochs. Keras reached training losses of 2.3210 and 1.6728. After each epoch the model continues a
passage at four temperatures: low ones favour likely characters, high ones give more variety.
"""

import argparse

import experiment
import jax
import numpy as np

import fnn

WIDTH, TEMPERATURES = 40, (0.2, 0.5, 1.0, 1.2)


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    text = fnn.data.nietzsche(args.data).lower()
    text = text[:20_000] if args.quick else text
    vocabulary = fnn.text.Vocabulary.of(text)
    symbols = len(vocabulary.symbols)
    x, y = fnn.text.windows(vocabulary.encode(text), WIDTH, step=3)
    print(f"{len(text):,} characters, {symbols} symbols, {len(x):,} windows")

    # The LSTM treats symbol ids as one-hot vectors without building those vectors.
    model = fnn.Sequential(fnn.LSTM(128, input_dim=symbols), fnn.Dense(symbols))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.rmsprop(0.01))
    print(fnn.summary(task, x[:1]))

    losses = []
    for seed in experiment.seeds(args):
        key = experiment.key(seed)
        start = np.random.default_rng(seed).integers(len(text) - WIDTH)
        prompt = text[start : start + WIDTH]

        def write(epoch: int, ts: fnn.TrainState, logs: dict[str, float], key=key, prompt=prompt) -> None:
            print(f"\nafter epoch {epoch + 1}, loss {logs['loss']:.4f}; from {prompt!r}")
            for temperature in TEMPERATURES:
                options = {"length": 40 if args.quick else 300, "temperature": temperature}
                new = fnn.text.generate_text(task, ts, vocabulary, prompt, jax.random.fold_in(key, epoch), **options)
                print(f"\n--- temperature {temperature}\n{prompt}|{new}")

        ts = fnn.init(task, key, x[:1])
        _, history = fnn.fit(task, ts, (x, y), epochs=1 if args.quick else 2, batch_size=128, callbacks=[write])
        losses.append(history["loss"])
    return [
        experiment.Figure(
            8, f"LSTM on Nietzsche: loss of epoch {epoch + 1}", [loss[epoch] for loss in losses], target, "at most"
        )
        for epoch, target in enumerate((2.3210, 1.6728)[: len(losses[0])])
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
