"""What an installation without extras must do: initialize and train an LSTM."""

import jax
import numpy as np

import fnn

rng = np.random.default_rng(0)
x = rng.normal(size=(256, 12, 3)).astype("float32")
y = (x.sum((1, 2)) > 0).astype("int32")

model = fnn.Sequential(fnn.LSTM(16), fnn.Dense(2))
task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-2), metrics=("accuracy",))
ts = fnn.init(task, jax.random.key(0), x[:1])
ts, history = fnn.fit(task, ts, (x, y), epochs=20, verbose=0)
print(fnn.__file__, fnn.evaluate(task, ts, (x, y)))
assert history["accuracy"][-1] > 0.9
