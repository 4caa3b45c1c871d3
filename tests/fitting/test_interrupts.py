"""Signals during training, in one process of several."""

import signal

import jax
import numpy as np
import pytest

import fnn
from fnn.fitting import interrupts
from fnn.fitting.interrupts import Interrupt


@pytest.fixture
def others(monkeypatch):
    """The signal of another process, which a test sets."""
    other = [0]
    monkeypatch.setattr(interrupts, "is_together", lambda: True)
    monkeypatch.setattr(interrupts, "exchanged", lambda own, calls: np.array([[own, 16], [other[0], 16]]))
    return other


def test_a_signal_after_the_last_question(others):
    interrupt = Interrupt()
    assert not interrupt()
    interrupt.note(signal.SIGTERM, None)
    assert not interrupt()  # it does not ask at every call
    assert interrupt.at_the_end()
    assert interrupt.signal == signal.SIGTERM


def test_sigterm_in_the_last_callback_ends_fit(others, capsys):
    x = np.ones((4, 2), "float32")
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), x)

    def late(epoch, ts, logs):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        fnn.fit(task, ts, (x, x[:, :1]), callbacks=[late], verbose=0)
    assert ended.value.code == 143
    assert "SIGTERM ends all processes at step 1" in capsys.readouterr().err


def test_a_signal_of_another_process_at_the_end(others):
    interrupt = Interrupt()
    assert not interrupt()
    others[0] = signal.SIGINT
    assert interrupt.at_the_end()
    assert interrupt.signal == signal.SIGINT


def test_no_signal(others):
    interrupt = Interrupt()
    assert not interrupt()
    assert not interrupt.at_the_end()


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_sigterm_counts_more_than_ctrl_c(signals, others):
    interrupt = Interrupt()
    for number in signals:
        interrupt.note(number, None)
    assert interrupt()
    assert interrupt.signal == signal.SIGTERM


def test_sigterm_after_all_agreed_on_ctrl_c(others):
    interrupt = Interrupt()
    interrupt.note(signal.SIGINT, None)
    assert interrupt()
    interrupt.note(signal.SIGTERM, None)
    assert interrupt.at_the_end()
    assert interrupt.signal == signal.SIGTERM


def test_a_second_ctrl_c_interrupts_at_once_also_after_sigterm():
    interrupt = Interrupt()
    interrupt.note(signal.SIGINT, None)
    interrupt.note(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt, match="second Ctrl-C"):
        interrupt.note(signal.SIGINT, None)


def test_one_process_asks_nobody(monkeypatch):
    monkeypatch.setattr(interrupts, "exchanged", None)
    interrupt = Interrupt()
    assert not interrupt.at_the_end()
    interrupt.note(signal.SIGINT, None)
    assert interrupt.at_the_end()
