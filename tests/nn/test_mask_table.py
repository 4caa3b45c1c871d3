"""What layers do with a `Masked`, as docs/how-to/sequences.md lists it."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from registry import LAYER_UNITS

import fnn

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sequences.md"
MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
ARGUMENTS = {
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "Dense", "PositionEmbedding", "OneHot"), (6,)),
    **dict.fromkeys(("Dropout", "SpatialDropout", "GaussianNoise", "GaussianDropout", "Rescaling"), (0.5,)),
    **dict.fromkeys(("RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness"), (0.1,)),
    **dict.fromkeys(("Conv", "ConvTranspose", "SeparableConv", "RandomCrop"), (3, 2)),
    **dict.fromkeys(("DepthwiseConv", "MaxPool", "AvgPool", "GroupNorm", "UpSampling", "RepeatVector"), (2,)),
    **dict.fromkeys(("TimeDistributed", "Residual", "Sequential", "Rematerialized"), (fnn.Dense(4),)),
    **dict.fromkeys(("ZeroPadding", "Cropping"), (1,)),
    "Activation": ("tanh",),
    "Bidirectional": (fnn.LSTM(3),),
    "Embedding": (7, 3),
    "Model": (lambda layers, x: layers.inner(x),),
    "MultiHeadAttention": (2, 2),
    "Permute": ((2, 1),),
    "RandomTranslation": (0.1, 0.1),
    "Repeated": (fnn.Dense(4), 2),
    "Reshape": ((-1,),),
}
NAMES = sorted({covered.__name__ for unit in LAYER_UNITS for covered in unit.covers} | {"ActivityRegularization"})


def listed():
    table = (
        PAGE.read_text(encoding="utf-8").partition("| layer | effect on `Masked(x, mask)` |")[2].partition("\n\n")[0]
    )
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def takes_a_mask(name):
    layer = getattr(fnn, name)(*ARGUMENTS.get(name, ()), **({"inner": fnn.Dense(4)} if name == "Model" else {}))
    shape = (2, 6, 6, 4) if name.startswith("Random") else (2, 6, 4)
    x = fnn.Masked(
        jnp.zeros((2, 6), "int32") if name in ("Embedding", "OneHot") else jnp.zeros(shape), jnp.ones((2, 6), bool)
    )
    x = (x, x) if name in MERGING else x
    try:
        jax.eval_shape(lambda key, x: layer.apply(*layer.init(key, x), x, key=key, train=True)[0], jax.random.key(0), x)
    except fnn.InputError as error:
        if "It cannot use a mask" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_page_lists_the_layers_that_take_a_mask(name):
    assert listed().count(name) == takes_a_mask(name)


def test_the_page_lists_layers_alone():
    assert sorted(listed()) == sorted(set(listed()))
    assert set(listed()) <= set(NAMES)
