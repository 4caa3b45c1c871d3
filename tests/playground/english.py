"""English words of the page and of messages that are no Spanish words."""

ENGLISH = {
    "the", "of", "and", "to", "with", "from", "layer", "layers", "unit", "units", "weight", "weights", "training",
    "test", "loss", "rate", "step", "play", "pause", "reset", "data", "noise", "rows", "row", "output", "input", "more",
    "settings", "share", "save", "picture", "record", "learning", "network", "hidden", "show", "run", "runs", "code",
    "seed", "epoch", "epochs", "features", "draw", "clear", "copy", "close", "lesson", "many", "once", "surface",
    "gradient", "dead", "right", "expected", "got", "column", "columns", "line", "cells", "number", "numbers", "text",
    "missing", "value", "values", "counted", "list", "characters", "end", "formula", "deep", "nesting", "such", "file",
    "read", "images", "pixels", "points", "point", "classes", "machine",
}  # fmt: skip
