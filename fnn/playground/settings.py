"""What a visitor asks for: settings and messages, parsed from JSON once, with limits and clear refusals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .choices import ACTIVATIONS, DATA, FEATURES, IMAGES, INITIALIZERS, KINDS, OPTIMIZERS, PENALTIES

LIMITS: dict[str, tuple[float, float]] = {
    "layers": (0, 8),
    "units": (1, 64),
    "batch_norms": (0, 4),
    "dropout": (0.0, 0.9),
    "size": (10, 2000),
    "images": (10, 5000),
    "noise": (0.0, 0.5),
    "train": (0.1, 0.9),
    "points": (2, 2000),
    "coordinate": (-1e4, 1e4),
    "csv_bytes": (1, 1_000_000),
    "csv_rows": (4, 5000),
    "csv_columns": (2, 33),
    "batch_size": (1, 5000),
    "seed": (0, 2**31 - 1),
    "rate": (0.0, 10.0),
    "weight": (-1e6, 1e6),
    "formula": (1, 500),
    "epochs": (1, 1000),
    "epochs_per_frame": (1, 100),
    "count": (2, 16),
    "many_epochs": (1, 500),
    "strokes": (1, 100),
    "stroke": (1, 500),
    "resolution": (10, 100),
    "unit_resolution": (8, 40),
    "surface": (5, 41),
}
"""The least and the largest value of each number, and length of each list; sent to the page."""


class RefusalError(ValueError):
    """A request that is refused, with the place and the reason in English and in Spanish."""

    def __init__(self, where: str, english: str, spanish: str) -> None:
        super().__init__(f"{where}: {english}" if where else english)
        self.where, self.english, self.spanish = where, english, spanish

    def to_json(self) -> dict[str, str]:
        """The error as it is sent."""
        return {"where": self.where, "message": self.english, "es": self.spanish}


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: a name of `DATA`; ``x`` and ``y`` of drawn points, ``text`` of a CSV file."""

    name: str = "circles"
    size: int = 500
    noise: float = 0.0
    train: float = 0.5
    x: tuple[tuple[float, float], ...] = ()
    y: tuple[float, ...] = ()
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A hidden layer."""

    units: int = 4
    activation: str = "tanh"
    dropout: float = 0.0
    batch_norm: bool = False


@dataclasses.dataclass(frozen=True)
class Penalty:
    """A penalty on the kernels: "none", "l1" or "l2", and its rate."""

    kind: str = "none"
    rate: float = 0.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides about an experiment before anything is changed while it runs."""

    kind: str = "network"
    data: Data = Data()
    features: tuple[str, ...] = ("x1", "x2")
    layers: tuple[Layer, ...] = (Layer(4), Layer(2))
    initializer: str = "glorot_uniform"
    optimizer: str = "sgd"
    hyper: tuple[tuple[str, float], ...] = (("learning_rate", 0.03),)
    penalty: Penalty = Penalty()
    batch_size: int = 10
    seed: int = 6  # with it the first network learns circles, XOR and clouds with relu too
    formula: str = "(a or b) and not (a and b)"


def shown(value: object) -> str:
    """A value as an error shows it, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Got(NamedTuple):
    """What came, in words, where the value itself would be too long."""

    english: str
    spanish: str


def refuse(where: str, english: str, spanish: str, value: object) -> RefusalError:
    """A refusal that says what was expected and what came."""
    got = value if isinstance(value, Got) else Got(shown(value), shown(value))
    return RefusalError(
        where, f"expected {english}, got {got.english}.", f"se esperaba {spanish}, llegó {got.spanish}."
    )


def mapping(where: str, value: object, known: Sequence[str]) -> Mapping[str, object]:
    """An object of JSON with no other keys than these."""
    if not isinstance(value, dict):
        raise refuse(where, "an object", "un objeto", value)
    for key in value:
        if key not in known:
            names = ", ".join(known)
            raise refuse(
                f"{where}.{shown(key)[1:-1]}" if where else shown(key)[1:-1], f"one of {names}", f"uno de {names}", key
            )
    return value


def items(where: str, value: object, limit: str) -> Sequence[object]:
    """A list of JSON whose length is within a limit."""
    low, high = map(int, LIMITS[limit])
    if not isinstance(value, list) or not low <= len(value) <= high:
        got: object = Got(f"a list of {len(value)}", f"una lista de {len(value)}") if isinstance(value, list) else value
        raise refuse(where, f"a list of {low} to {high} items", f"una lista de {low} a {high} elementos", got)
    return value


def number(where: str, value: object, low: float, high: float) -> float:
    """A finite number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise refuse(where, f"a number from {low:g} to {high:g}", f"un número de {low:g} a {high:g}", value)
    return float(value)


def integer(where: str, value: object, low: float, high: float) -> int:
    """A whole number from ``low`` to ``high``."""
    whole = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value == int(value))
    if isinstance(value, bool) or not whole or not low <= value <= high:  # type: ignore[operator]
        low, high = int(low), int(high)
        raise refuse(where, f"a whole number from {low} to {high}", f"un número entero de {low} a {high}", value)
    return int(value)  # type: ignore[call-overload, no-any-return]


def limited(where: str, value: object, limit: str) -> float:
    """A number within a limit."""
    return number(where, value, *LIMITS[limit])


def counted(where: str, value: object, limit: str) -> int:
    """A whole number within a limit."""
    return integer(where, value, *LIMITS[limit])


def flag(where: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refuse(where, "true or false", "true o false", value)
    return value


def choice(where: str, value: object, known: Sequence[str]) -> str:
    """One of these names."""
    if not isinstance(value, str) or value not in known:
        names = ", ".join(known)
        raise refuse(where, f"one of {names}", f"uno de {names}", value)
    return value


def text(where: str, value: object, limit: str) -> str:
    """Text whose length is within a limit, in bytes of UTF-8."""
    low, high = map(int, LIMITS[limit])
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise refuse(where, "text of Unicode characters", "un texto de caracteres Unicode", value)
    if not isinstance(value, str) or not low <= len(value.encode()) <= high:
        got: object = Got(f"{len(value)} characters", f"{len(value)} caracteres") if isinstance(value, str) else value
        raise refuse(where, f"text of {low} to {high} bytes", f"un texto de {low} a {high} bytes", got)
    return value


def names(where: str, value: object, known: Sequence[str]) -> tuple[str, ...]:
    """Names without repetition."""
    if not isinstance(value, list):
        raise refuse(where, "a list", "una lista", value)
    found = tuple(choice(f"{where}[{i}]", name, known) for i, name in enumerate(value[: len(known) + 1]))
    if len(set(found)) < len(value):
        raise refuse(where, "each name once", "cada nombre una vez", value)
    return found


def parse(value: object) -> Settings:
    """Settings from JSON; what is not given has its default.

    Raises:
      RefusalError: for anything else than the documented keys and values, with its place.
    """
    default = Settings()
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "hyper"]
    given = mapping("settings", value, fields)
    name, hyper = _optimizer(given.get("optimizer", {"name": default.optimizer}))
    data = _data(given.get("data", {}))
    layers = items("layers", given["layers"], "layers") if "layers" in given else None
    settings = Settings(
        kind=choice("kind", given.get("kind", default.kind), KINDS),
        data=data,
        features=names("features", given.get("features", list(default.features)), FEATURES),
        layers=default.layers if layers is None else tuple(_layer(f"layers[{i}]", one) for i, one in enumerate(layers)),
        initializer=choice("initializer", given.get("initializer", default.initializer), INITIALIZERS),
        optimizer=name,
        hyper=hyper,
        penalty=parse_penalty("penalty", given.get("penalty", {})),
        batch_size=counted("batch_size", given.get("batch_size", default.batch_size), "batch_size"),
        seed=counted("seed", given.get("seed", default.seed), "seed"),
        formula=text("formula", given.get("formula", default.formula), "formula"),
    )
    norms, most = sum(layer.batch_norm for layer in settings.layers), int(LIMITS["batch_norms"][1])
    if norms > most:  # with one in each of eight layers, compiling takes four times as long
        raise refuse("layers", f"BatchNorm in at most {most} layers", f"BatchNorm en {most} capas como mucho", norms)
    if not settings.features and settings.data.name not in ("csv", *IMAGES):
        raise refuse("features", "at least one feature", "al menos una característica", [])
    return settings


def _data(value: object) -> Data:
    default, where = Data(), "data"
    given = mapping(where, value, [field.name for field in dataclasses.fields(Data)])
    name = choice("data.name", given.get("name", default.name), DATA)
    x: tuple[tuple[float, float], ...] = ()
    y: tuple[float, ...] = ()
    if name == "points":
        rows = items("data.x", given.get("x"), "points")
        x = tuple(_point(f"data.x[{i}]", row) for i, row in enumerate(rows))
        values = items("data.y", given.get("y"), "points")
        y = tuple(limited(f"data.y[{i}]", one, "coordinate") for i, one in enumerate(values))
        if len(x) != len(y):
            raise refuse("data.y", f"{len(x)} values, one for each point", f"{len(x)} valores, uno por punto", len(y))
    return Data(
        name=name,
        size=counted("data.size", given.get("size", default.size), "images" if name in IMAGES else "size"),
        noise=limited("data.noise", given.get("noise", default.noise), "noise"),
        train=limited("data.train", given.get("train", default.train), "train"),
        x=x,
        y=y,
        text=text("data.text", given.get("text"), "csv_bytes") if name == "csv" else "",
    )


def _point(where: str, value: object, limits: tuple[float, float] = LIMITS["coordinate"]) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise refuse(where, "two numbers", "dos números", value)
    a, b = (number(f"{where}[{i}]", one, *limits) for i, one in enumerate(value))
    return a, b


def _layer(where: str, value: object) -> Layer:
    default = Layer()
    given = mapping(where, value, [field.name for field in dataclasses.fields(Layer)])
    return Layer(
        units=counted(f"{where}.units", given.get("units", default.units), "units"),
        activation=choice(f"{where}.activation", given.get("activation", default.activation), ACTIVATIONS),
        dropout=limited(f"{where}.dropout", given.get("dropout", default.dropout), "dropout"),
        batch_norm=flag(f"{where}.batch_norm", given.get("batch_norm", default.batch_norm)),
    )


def _optimizer(value: object) -> tuple[str, tuple[tuple[str, float], ...]]:
    if not isinstance(value, dict):
        raise refuse("optimizer", "an object", "un objeto", value)
    name = choice("optimizer.name", value.get("name", "sgd"), list(OPTIMIZERS))
    known = OPTIMIZERS[name].hyper
    mapping("optimizer", value, ["name", *known])
    given = {key: one for key, one in value.items() if key != "name"}
    return name, tuple((known | parse_hyper("optimizer", name, given)).items())


def parse_strokes(value: object) -> list[list[tuple[float, float]]]:
    """Lines of a pen: lists of places ``[across, down]`` from 0 to 1, no more in all than one line may have."""
    lines = [items(f"strokes[{i}]", line, "stroke") for i, line in enumerate(items("strokes", value, "strokes"))]
    most, count = int(LIMITS["stroke"][1]), sum(map(len, lines))
    if count > most:
        got = Got(f"{count} places", f"{count} puntos")
        raise refuse("strokes", f"at most {most} places", f"como mucho {most} puntos", got)
    found = []
    for i, line in enumerate(lines):
        found.append([_point(f"strokes[{i}][{j}]", place, (0.0, 1.0)) for j, place in enumerate(line)])
    return found


def parse_hyper(where: str, optimizer: str, value: object) -> dict[str, float]:
    """Some hyper-parameters of an optimizer by name."""
    known = OPTIMIZERS[optimizer]
    given = mapping(where, value, list(known.hyper))
    return {key: number(f"{where}.{key}", one, *known.ranges[key]) for key, one in given.items()}


def parse_penalty(where: str, value: object) -> Penalty:
    """A penalty; without a rate "none" is meant."""
    given = mapping(where, value, ["kind", "rate"])
    kind = choice(f"{where}.kind", given.get("kind", "none"), PENALTIES)
    return Penalty(kind, limited(f"{where}.rate", given.get("rate", 0.0), "rate"))


def to_json(settings: Settings) -> dict[str, object]:
    """Settings as JSON, which `parse` reads."""
    plain = dataclasses.asdict(settings)
    plain["optimizer"] = {"name": settings.optimizer, **dict(plain.pop("hyper"))}
    if settings.data.name != "points":
        del plain["data"]["x"], plain["data"]["y"]
    if settings.data.name != "csv":
        del plain["data"]["text"]
    return plain
