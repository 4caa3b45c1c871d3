"""The full text of messages about penalties; see helpers.check_messages."""

from pathlib import Path

import jax.numpy as jnp
from helpers import check_messages

from fnn import penalties

PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a negative rate": lambda: penalties.l2(-1e-4),
    "the pattern before the rate": lambda: penalties.l2("*kernel", 1e-4),
    "an index as a pattern": lambda: penalties.l1(1e-4, 0),
    "a pattern that matches nothing": lambda: penalties.l2(1e-4, "conv*")(PARAMS),
    "a constraint of norm 0": lambda: penalties.max_norm(0.0),
    "an axis that a bias does not have": lambda: penalties.unit_norm("*bias", axis=1)(PARAMS),
    "a name as an axis": lambda: penalties.max_norm(1.0, axis="rows"),
    "a rate among penalties": lambda: penalties.total(penalties.l2(1e-4), 0.1),
    "an array among penalties": lambda: penalties.total(jnp.ones(2)),
    "a chain of nothing": lambda: penalties.chain(),
    "integer parameters": lambda: penalties.l2(1e-4)({"kernel": jnp.arange(3)}),
}
