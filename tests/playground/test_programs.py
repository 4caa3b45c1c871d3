"""Compiled programs: how many are kept, who waits for them, and that nobody's memory does."""

import asyncio
import gc
import json
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.playground import programs
from fnn.playground.programs import PROGRAMS, Program, Programs, compiled
from fnn.playground.sessions import Sessions


@compiled(static=1)
def _times(factor, x):
    return factor * x


def test_a_program_is_compiled_once_for_its_static_arguments_and_shapes(monkeypatch):
    made = []
    compile_one = Program.compile
    monkeypatch.setattr(Program, "compile", lambda self: made.append(self) or compile_one(self))
    assert _times(3.5, jnp.ones(4)).tolist() == [3.5] * 4
    assert _times(3.5, jnp.zeros(4)).tolist() == [0] * 4
    assert len(made) == 1
    _times(3.5, jnp.ones(5))
    _times(4.5, jnp.ones(5))
    assert len(made) == 3
    assert _times.program(4.5, jnp.ones(5)) in PROGRAMS


def test_the_programs_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(programs, "MOST", 3)
    kept = Programs()
    wanted = [_times.program(2.0, jnp.ones(n)) for n in range(1, 6)]
    for program in wanted[:3]:
        kept.get(program)
    kept.get(wanted[0])
    for program in wanted[3:]:
        kept.get(program)
    assert [program in kept for program in wanted] == [True, False, False, True, True]


def test_a_dropped_program_frees_its_memory(monkeypatch):
    monkeypatch.setattr(programs, "MOST", 1)
    kept = Programs()
    gone = weakref.ref(kept.get(_times.program(5.0, jnp.ones(3))))
    kept.get(_times.program(6.0, jnp.ones(3)))
    gc.collect()
    assert gone() is None


def test_whoever_asks_for_a_program_that_is_being_compiled_waits_for_it(monkeypatch):
    begun, going, made = threading.Event(), threading.Event(), []

    def compile_slowly(self):
        made.append(self)
        begun.set()
        assert going.wait(60)
        return lambda x: x

    monkeypatch.setattr(Program, "compile", compile_slowly)
    kept, found, program = Programs(), [], _times.program(7.0, jnp.ones(3))
    threads = [threading.Thread(target=lambda: found.append(kept.get(program))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert program not in kept
    going.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(found)) == 1


def test_a_failure_to_compile_is_not_kept(monkeypatch):
    program, kept = _times.program(8.0, jnp.ones(3)), Programs()
    with monkeypatch.context() as patch:
        patch.setattr(Program, "compile", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            kept.get(program)
    assert not kept.kept
    kept.get(program)


def test_everything_is_counted_and_nothing_of_the_users_is_dropped(page, small, monkeypatch):
    """Also the programs of networks side by side and of the loss surface."""
    own = jax.jit(lambda x: x + 1)
    own(jnp.ones(3))
    PROGRAMS.kept.clear()
    page.do("set", settings=small)
    page.see()
    page.do("step", epochs=1)
    page.do("step", epochs=2)
    before = set(PROGRAMS.kept)
    names = {program.function.__name__ for program in before}
    assert {"_epoch", "_totals", "_seen", "_step"} <= names
    for do in ("many", "surface"):
        page.do(do, **({"count": 2, "epochs": 1} if do == "many" else {"resolution": 5}))
    assert {"_start", "_outputs", "_slice", "_mean_loss"} <= {one.function.__name__ for one in PROGRAMS.kept}
    losses = page.journey.history[3]
    monkeypatch.setattr(programs, "MOST", 2)
    page.do("reset")
    page.do("step", epochs=3)
    assert page.journey.measure() == losses
    assert len(PROGRAMS.kept) == 2
    assert own._cache_size() == 1


def test_the_message_names_what_it_needs_before_it_computes(page, small):
    """So that a session can have it compiled apart from the visitor's work."""
    PROGRAMS.kept.clear()
    small["penalty"] = {"kind": "l1", "rate": 0.1}
    messages = [
        ("set", {"settings": small}), ("play", {}), ("penalty", {"kind": "l2", "rate": 0.1}), ("step", {"epochs": 3}),
        ("step", {}), ("view", {"resolution": 30, "unit_resolution": 12}), ("predict", {"x": [1, 2]}),
        ("many", {"count": 2, "epochs": 2}), ("surface", {"resolution": 5}),
    ]  # fmt: skip
    for do, fields in messages:
        named = set(PROGRAMS.kept)
        for part in page.work({"do": do, **fields}):
            if isinstance(part, Program):
                named.add(part)
        page.see()
        assert set(PROGRAMS.kept) <= named, do


def test_the_epoch_is_that_of_the_public_function(page, small):
    page.do("set", settings=small)
    experiment, ts = page.journey.experiment, page.journey.now.ts
    page.do("step")
    expected, _ = fnn.train_epoch(experiment.task, ts, experiment.train, batch_size=10)
    for mine, theirs in zip(jax.tree.leaves(page.journey.now.ts.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    scores = fnn.evaluate(experiment.task, page.journey.now.ts, experiment.test)
    assert page.journey.history[1].test == scores["loss"]
    assert page.journey.history[1].test_accuracy == scores["accuracy"]


class Tab:
    """A page that sends one message, and is closed when told."""

    def __init__(self, message):
        self.texts, self.closed = [json.dumps(message)], asyncio.Event()

    async def send_text(self, data):
        pass

    async def send_bytes(self, data):
        pass

    async def receive_text(self):
        if self.texts:
            return self.texts.pop()
        await self.closed.wait()
        raise ConnectionError


def test_a_tab_closed_while_its_network_is_compiled_is_freed_before_that_ends(small, monkeypatch):
    """Compiling cannot be stopped, but holds nothing of the visitor."""
    begun, going = threading.Event(), threading.Event()

    def compile_slowly(self):
        begun.set()
        assert going.wait(60)
        return lambda *args: None

    monkeypatch.setattr(Program, "compile", compile_slowly)
    PROGRAMS.kept.clear()

    async def visit():
        all_sessions, tab = Sessions(), Tab({"do": "set", "settings": small})
        visit = asyncio.create_task(all_sessions.serve(tab))
        await asyncio.to_thread(begun.wait, 60)
        (session,) = all_sessions.open
        gone = weakref.ref(session), weakref.ref(session.visitor)
        del session
        tab.closed.set()
        await asyncio.gather(visit, return_exceptions=True)
        del visit, tab
        for _ in range(100):
            gc.collect()
            if not any(one() for one in gone):
                break
            await asyncio.sleep(0.01)
        assert not any(one() for one in gone)
        assert not going.is_set()
        going.set()
        all_sessions.close()

    try:
        asyncio.run(visit())
    finally:
        going.set()
        PROGRAMS.kept.clear()
