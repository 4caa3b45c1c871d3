"""Named tuples whose fields are not rows: `len` is refused, everything else works as in any tuple."""

import copy
import pickle
import re

import jax
import numpy as np
import pytest

import fnn

P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], "f")
KINDS = {
    "Dataset": (lambda: fnn.data.Dataset(P, np.array([0, 1, 0]), ("a", "b"), ("no", "yes")), "Write len(data.x)."),
    "Images": (
        lambda: fnn.data.Images(P[None], P[0], P[None], P[0], ("a", "b")),
        "Write len(data.x_train) or len(data.x_test).",
    ),
    "Moments": (lambda: fnn.data.standardize_fit(P), "Write len(moments.mean) for columns."),
    "TableCode": (
        lambda: fnn.data.table_fit({"a": [1.0, 2.0]}),
        "Write len(code.columns), or len(code.names) for encoded columns.",
    ),
    "ClassScores": (lambda: fnn.metrics.precision_recall_f1(P, [0, 1, 1]), "Write len(scores.f1) for classes."),
    "Reliability": (lambda: fnn.metrics.reliability(P, [0, 1, 1]), "Write len(curve.counts) for bins."),
    "CoverageCurve": (
        lambda: fnn.metrics.coverage_curve(P[:, 0], P[:, 1], P[:, 0]),
        "Write len(curve.nominal) for levels.",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_len_says_what_to_write_instead(name):
    make, advice = KINDS[name]
    with pytest.raises(TypeError, match=rf"^{name}: len\(\) would count its fields\. {re.escape(advice)}$"):
        len(make())


@pytest.mark.parametrize("name", KINDS)
def test_otherwise_it_is_a_tuple(name):
    def same(a, b):
        assert type(a) is type(b)
        jax.tree.map(np.testing.assert_array_equal, tuple(a), tuple(b))

    value = KINDS[name][0]()
    assert value
    first, *rest = value
    assert first is value[0]
    assert rest == [*value[1:]]
    assert rest[-1] is value[-1]
    assert [a is b for a, b in zip(value, tuple(value), strict=True)] == [True] * len(value._fields)
    same(value, type(value)(*value))
    same(value, type(value)._make(iter(value)))
    same(value, value._replace(**value._asdict()))
    assert value._replace(**{value._fields[0]: 1})[0] == 1
    same(value, pickle.loads(pickle.dumps(value)))
    same(value, copy.deepcopy(value))
    same(value, jax.tree.map(lambda leaf: leaf, value))
    same(value, jax.tree.map(lambda a, b: a, value, value))
    with pytest.raises(TypeError, match="argument"):
        type(value)._make([1])
    with pytest.raises(TypeError, match="argument"):
        type(value)._make(range(9))


def test_as_an_array_the_fields_are_rows():
    scores = KINDS["ClassScores"][0]()
    np.testing.assert_array_equal(np.asarray(scores), np.stack(tuple(scores)))
    assert np.asarray(scores, "float64").dtype == np.float64
    np.testing.assert_array_equal(jax.numpy.asarray(scores), np.stack(tuple(scores)))


def test_through_a_compiled_scan():
    moments = fnn.data.standardize_fit(jax.numpy.ones((3, 2)))

    @jax.jit
    def twice(moments):
        return jax.lax.scan(lambda carry, _: (carry._replace(std=2 * carry.std), None), moments, None, 2)[0]

    mean, std = twice(moments)
    np.testing.assert_array_equal(mean, [1, 1])
    np.testing.assert_array_equal(std, [4, 4])
