"""Learn to write like Nietzsche, character by character (reference experiment 8).

    FNN_DATA=/path/to/data python examples/char_lstm.py

Windows of 40 characters, every third position, LSTM(128) and a dense layer over the 57 symbols, RMSprop 0.01, batch
128, 2 epochs; Keras's training loss was 2.3210, then 1.6728. After each epoch the model continues a passage at four
temperatures: low ones keep to what is likely, high ones are bolder.
"""

import argparse

import jax
import numpy as np

import fnn

WIDTH = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with nietzsche.txt; default the one named by FNN_DATA")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--length", type=int, default=300, help="characters to write each time")
    parser.add_argument("--quick", action="store_true", help="the first 20,000 characters, one epoch")
    args = parser.parse_args()

    text = fnn.datasets.nietzsche(args.data).lower()
    text = text[:20_000] if args.quick else text
    vocabulary = fnn.text.Vocabulary.of(text)
    symbols = len(vocabulary.symbols)
    x, y = fnn.text.windows(vocabulary.encode(text), WIDTH, step=3)
    print(f"{len(text):,} characters, {symbols} symbols, {len(x):,} windows")

    # The LSTM takes symbol numbers as one-hot vectors without ever building them.
    model = fnn.Sequential(fnn.LSTM(128, input_dim=symbols), fnn.Dense(symbols))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.rmsprop(0.01))
    print(fnn.summary(task, x[:1]))
    ts = fnn.init(task, jax.random.key(args.seed), x[:1])

    start = np.random.default_rng(args.seed).integers(len(text) - WIDTH)
    prompt = text[start : start + WIDTH]

    def write(epoch: int, ts: fnn.TrainState, logs: dict[str, float]) -> None:
        print(f"\nafter epoch {epoch + 1}, loss {logs['loss']:.4f}; from {prompt!r}")
        for temperature in (0.2, 0.5, 1.0, 1.2):
            key = jax.random.fold_in(jax.random.key(args.seed), epoch)
            new = fnn.text.generate_text(
                model, ts.params, ts.state, vocabulary, prompt, key, length=args.length, temperature=temperature
            )
            print(f"\n--- temperature {temperature}\n{prompt}|{new}")

    epochs = 1 if args.quick else args.epochs
    _, history = fnn.fit(task, ts, (x, y), epochs=epochs, batch_size=128, callbacks=[write])
    print("\nloss by epoch:", ", ".join(f"{loss:.4f}" for loss in history["loss"]))


if __name__ == "__main__":
    main()
