"""Kill a training run repeatedly, resume it, and compare the result with an uninterrupted run.

    python examples/resume.py

Each process makes the same call of `fit` with a checkpoint folder. It is killed at a random moment (by SIGKILL, which
no program can catch), and the next process resumes from the newest checkpoint, even within an epoch. At the end,
parameters, optimizer state, layer state and history are compared, bit for bit, with those of an uninterrupted run.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import experiment
import jax
import matplotlib.pyplot as plt

import fnn

BATCH = 32


def train(epochs: int, seed: int, **options) -> tuple[fnn.TrainState, fnn.History]:
    """Train as every process does; ``options`` are passed to `fit`."""
    x, y = fnn.data.digits()[:2]
    x, x_val, y, y_val = fnn.data.train_test_split(x, y, seed=0)
    model = fnn.Sequential(
        fnn.Conv(16, 3, activation="relu", padding="same"),
        fnn.MaxPool(2),
        fnn.Flatten(),
        fnn.Dense(64, activation="relu"),
        fnn.Dropout(0.3),
        fnn.Dense(10),
    )
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(5e-4), metrics=("accuracy",))
    ts = fnn.init(task, jax.random.key(seed), x[:1])
    return fnn.fit(
        task, ts, (x, y), epochs=epochs, batch_size=BATCH, validation_data=(x_val, y_val), verbose=0, **options
    )


def steps_in(folder: Path) -> int:
    """The step of the newest checkpoint."""
    files = sorted(folder.glob("step-*.safetensors"))
    return int(files[-1].stem.removeprefix("step-")) if files else 0


def train_and_kill(folder: Path, epochs: int, seed: int, kills: int) -> list[int]:
    """Start processes and kill all but the last; return the step from which each resumed."""
    rng, begins = random.Random(seed), []
    total = epochs * 43  # about 1,347 rows in batches of 32
    while True:
        begins.append(steps_in(folder))
        number = len(begins)
        command = [sys.executable, __file__, "--worker", str(folder), str(epochs), str(seed)]
        process = subprocess.Popen(command)
        if number > kills:
            assert process.wait() == 0
            return begins
        # Kill the process at a random point of its share of the steps, whatever it is doing.
        until = total * (number - rng.random()) / (kills + 1)
        while steps_in(folder) < until and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"process {number}: from step {begins[-1]}, killed after the checkpoint of step {steps_in(folder)}")


def main() -> None:
    if "--worker" in sys.argv:
        folder, epochs, seed = sys.argv[-3:]
        train(int(epochs), int(seed), checkpoint=folder, every=10)
        return
    args = experiment.parser(__doc__).parse_args()
    epochs, kills = (5, 2) if args.quick else (20, 8)
    with tempfile.TemporaryDirectory() as name:
        begins = train_and_kill(Path(name), epochs, args.seed, kills)
        # Training is complete, so the same call reads the last checkpoint and returns.
        ts, history = train(epochs, args.seed, checkpoint=name, every=10)
    print(f"process {len(begins)}: from step {begins[-1]} to the end, step {int(ts.step)}")
    plain_ts, plain = train(epochs, args.seed)

    values = [name for name in history if name != "seconds"]
    same = fnn.fingerprint(ts) == fnn.fingerprint(plain_ts) and all(history[n] == plain[n] for n in values)
    print(f"validation accuracy {history['val_accuracy'][-1]:.4f}")
    print(f"killed {kills} times, and identical to an uninterrupted run, bit for bit: {'yes' if same else 'NO'}")

    _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    per_epoch = int(ts.step) / epochs
    for i, begin in enumerate(begins):
        end = begins[i + 1] if i + 1 < len(begins) else int(ts.step)
        ax.axvspan(begin / per_epoch, end / per_epoch, color="0.93" if i % 2 else "0.85", lw=0)
        if i:
            label = "killed; the next process resumes" if i == 1 else None
            ax.axvline(begin / per_epoch, color=fnn.plot.COLORS[1], lw=1.5, ls="--", label=label)
    along = range(1, epochs + 1)
    ax.plot(along, plain["val_loss"], "o", color="0.4", ms=9, mfc="none", label="uninterrupted")
    ax.plot(along, history["val_loss"], ".-", color=fnn.plot.COLORS[0], label=f"by {len(begins)} processes")
    ax.set(xlabel="epoch", ylabel="validation loss", xlim=(0, epochs + 0.2), yscale="log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title(f"Killed {kills} times: the same bits" if same else "Killed: NOT the same")
    ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    experiment.save(ax, args, "resume.png")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
