"""JAX's disk cache: a new process that trains the same model compiles nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TRAINING = """
import collections, json, sys
import jax, numpy as np

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name.rsplit("/", 1)[-1]]))
import fnn

x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int32)
model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dropout(0.2), fnn.BatchNorm(), fnn.Dense(2))
task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-3), metrics=("accuracy",))
ts = fnn.init(task, jax.random.key(0), x[:1])
ts, history = fnn.fit(task, ts, (x, y), epochs=2, verbose=0, validation_split=0.1)
fnn.predict(task, ts, x)
print(json.dumps([events["cache_hits"], events["cache_misses"], fnn.fingerprint(ts)]))
"""


@pytest.mark.slow
def test_a_new_process_compiles_nothing_with_jaxs_disk_cache(tmp_path):
    def train():
        command = [sys.executable, "-c", TRAINING, str(tmp_path)]
        return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    hits, misses, trained = train()
    assert misses > 3
    assert train() == [hits + misses, 0, trained]
