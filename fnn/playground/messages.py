"""One visitor's messages, each answered by a plain function: no sockets, no threads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Iterator
from typing import cast

import numpy as np

from .choices import IMAGES, PENALTIES
from .classic import PerceptronJourney, formula_facts
from .data import Prepared, features
from .experiment import Experiment, Weight, batch_size, build, epoch_program, evaluation_programs, start
from .images import drawn_image
from .journey import Journey
from .lessons import LANGUAGES, LESSONS, lesson
from .many import Trials
from .programs import Program
from .script import code, perceptron_script
from .settings import (
    RefusalError,
    Settings,
    choice,
    counted,
    flag,
    integer,
    limited,
    mapping,
    names,
    number,
    parse,
    parse_hyper,
    parse_penalty,
    parse_strokes,
    refuse,
    to_json,
)
from .surface import Plane, surface_programs
from .views import SHOWN, Frame, Map, View, finite, frame, predict, prediction_program, view_programs

Json = dict[str, object]
Stop = Callable[[], bool]
Part = Json | Frame | Program | None
"""What a message gives, part by part: the answer or news in JSON, a frame, a program that it runs next,
or None where it only makes room."""


def never() -> bool:
    """Do not stop."""
    return False


class Visitor:
    """One visitor's experiment and view.

    Attributes:
      playing: whether it trains.
      epochs_per_frame: epochs between two frames.
    """

    def __init__(self) -> None:
        self.journey: Journey | PerceptronJourney | None = None
        self.view = View()
        self.playing = False
        self.epochs_per_frame = 1
        self.frames = 0
        self._known = -1  # the last epoch whose losses the page has
        self._fresh = True

    def work(self, message: Json, stop: Callable[[], Stop] = lambda: never) -> Generator[Part, None, None]:
        """Do what a message asks for, part by part; the last JSON without a type is the answer.

        ``stop`` gives for each part a function that says when it has to end.

        Raises:
          RefusalError: for a message that cannot be served; nothing has changed then.
        """
        do = choice("do", message.get("do"), list(_ACTIONS))
        action, fields = _ACTIONS[do]
        mapping("", message, ["id", "do", *fields])
        yield from action(self, message, stop)

    def answer(self, message: Json) -> Json:
        """Do all that a message asks for, and return the answer."""
        parts = [part for part in self.work(message) if isinstance(part, dict) and "type" not in part]
        return parts[-1]

    def frame(self) -> Frame:
        """The frame of the current moment."""
        journey = self._any_journey()
        self.frames += 1
        if isinstance(journey, PerceptronJourney):
            made = journey.frame(self.view, self.frames, fresh=self._fresh)
        else:
            made = frame(journey, self.view, self.frames, self._known, fresh=self._fresh)
        self._known, self._fresh = journey.now.epoch, False
        return made

    def train(self, stop: Stop = never) -> None:
        """Train for the epochs of one frame."""
        journey = self._any_journey()
        journey.train(self.epochs_per_frame, stop)
        if isinstance(journey, Journey):
            journey.measure()
        elif journey.finished:
            self.playing = False

    def _any_journey(self) -> Journey | PerceptronJourney:
        if self.journey is None:
            raise RefusalError("do", "send settings first.", "primero hay que enviar los ajustes.")
        return self.journey

    def _journey(self) -> Journey:
        journey = self._any_journey()
        if isinstance(journey, PerceptronJourney):
            raise RefusalError("do", "this needs a network.", "esto necesita una red.")
        return journey

    def set(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Build the experiment of these settings."""
        yield from self._begin(parse(message.get("settings", {})))

    def _begin(self, settings: Settings) -> Iterator[Part]:
        if settings.kind == "formula":
            facts = formula_facts(settings.formula)
            self.journey, self.playing = None, False
            yield {"settings": to_json(settings), **facts}
            return
        journey: Journey | PerceptronJourney
        if settings.kind == "perceptron":
            journey = PerceptronJourney(settings)
            answer = {"settings": to_json(settings), **_data_facts(journey.prepared), **journey.facts()}
        else:
            experiment = build(settings)
            moment = start(experiment)
            yield from evaluation_programs(experiment, moment.ts)
            yield from view_programs(experiment, moment.ts, self.view)
            journey = Journey(experiment, moment)
            answer = {"settings": to_json(settings), **_data_facts(experiment.prepared), **_model_facts(journey)}
        self.journey, self.playing, self._fresh = journey, False, True
        yield answer

    def _epoch_program(self, kind: str | None = None) -> Iterator[Program]:
        """What training needs, with the current penalty or one of this kind."""
        if isinstance(self.journey, Journey):
            now = self.journey.now
            yield epoch_program(self.journey.experiment, now.ts, kind or now.penalty.kind)

    def reset(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Begin again with the same settings."""
        yield from self._begin(self._settings())

    def seed(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Begin again with another seed."""
        seed = counted("seed", message.get("seed"), "seed")
        yield from self._begin(dataclasses.replace(self._settings(), seed=seed))

    def _settings(self) -> Settings:
        journey = self._any_journey()
        return journey.settings if isinstance(journey, PerceptronJourney) else journey.experiment.settings

    def play(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Train from now on."""
        epochs = counted("epochs_per_frame", message.get("epochs_per_frame", 1), "epochs_per_frame")
        self._any_journey()
        yield from self._epoch_program()
        self.playing, self.epochs_per_frame = True, epochs
        yield {}

    def pause(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Stop training."""
        self.playing = False
        yield {"epoch": self._any_journey().now.epoch}

    def step(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Train for a number of epochs, or of corrections with the perceptron's rule."""
        left = counted("epochs", message.get("epochs", 1), "epochs")
        journey = self._any_journey()
        self.playing = False
        yield from self._epoch_program()
        if isinstance(journey, PerceptronJourney):
            for _ in range(left):
                journey.correct()
        else:
            while left := left - journey.train(left, stop()):
                yield None
            journey.measure()
        yield {"epoch": journey.now.epoch}

    def go(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Return to an epoch."""
        journey = self._any_journey()
        epoch = integer("epoch", message.get("epoch"), 0, journey.reached)
        self.playing = False
        while not journey.go(epoch, stop()):
            yield None
        self._known = min(self._known, epoch)
        yield {"epoch": epoch}

    def hyper(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Change hyper-parameters of the optimizer."""
        journey = self._journey()
        values = parse_hyper("values", journey.experiment.settings.optimizer, message.get("values", {}))
        if not values:
            raise refuse("values", "at least one number", "al menos un número", {})
        journey.change(values)
        yield {"epoch": journey.now.epoch, "values": values}

    def penalty(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Change the penalty."""
        given = {key: message[key] for key in ("kind", "rate") if key in message}
        choice("kind", given.get("kind", "none"), PENALTIES)
        penalty = parse_penalty("", given)
        journey = self._journey()
        if self.playing:
            yield from self._epoch_program(penalty.kind)
        journey.change(penalty)
        yield {"epoch": journey.now.epoch, **dataclasses.asdict(penalty)}

    def weight(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Change one weight."""
        journey = self._journey()
        index = message.get("index")
        given = index if isinstance(index, list) else [index]
        place = tuple(integer(f"index[{i}]", one, 0, 2**31) for i, one in enumerate(given[:3]))
        value = limited("value", message.get("value"), "weight")
        leaf = choice("leaf", message.get("leaf"), ("kernel", "bias"))
        journey.change(Weight(str(message.get("layer"))[:40], leaf, place, value))
        journey.measure()
        self._known = min(self._known, journey.now.epoch - 1)
        yield {"epoch": journey.now.epoch}

    def show(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Change what frames show."""
        old = self.view
        size = counted("resolution", message.get("resolution", old.resolution), "resolution")
        unit_size = message.get("unit_resolution", old.unit_resolution)
        view = View(
            resolution=size,
            unit_resolution=counted("unit_resolution", unit_size, "unit_resolution"),
            discretize=flag("discretize", message.get("discretize", old.discretize)),
            show=names("show", message.get("show", list(old.show)), SHOWN),
        )
        if isinstance(self.journey, Journey):
            yield from view_programs(self.journey.experiment, self.journey.now.ts, view)
        self.view = view
        self._fresh = self._fresh or ("points" in view.show and "points" not in old.show)
        yield {}

    def many(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """Train networks side by side, with news after each epoch."""
        over = choice("over", message.get("over", "seed"), ("seed", "learning_rate"))
        count = counted("count", message.get("count", 8), "count")
        epochs = counted("epochs", message.get("epochs", 50), "many_epochs")
        experiment = self._journey().experiment
        self.playing = False
        trials = yield from Trials.start(experiment, over, count)
        yield from trials.programs(experiment, self.view.resolution)
        for epoch in range(1, epochs + 1):
            trials = trials.train(experiment)
            yield {"type": "progress", "epoch": epoch, "epochs": epochs}
        yield trials.picture(experiment, self.view.resolution)
        yield cast(Json, finite(trials.facts()))

    def surface(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """A slice of the loss surface, with the path."""
        resolution = counted("resolution", message.get("resolution", 25), "surface")
        journey = self._journey()
        self.playing = False
        yield from surface_programs(journey, resolution)
        plane = Plane.through(journey, resolution)
        rows = []
        for i in range(resolution):
            rows.append(plane.row(journey, i))
            yield None
        facts = finite({"path": plane.path, "extent": plane.extent, "explained": plane.explained})
        yield Frame({"type": "surface", **cast(Json, facts)}, (Map("surface", np.stack(rows)),))
        yield cast(Json, facts)

    def code(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """The scripts of the experiment up to now."""
        journey = self._any_journey()
        if isinstance(journey, PerceptronJourney):
            yield {"fnn": perceptron_script(journey.settings, journey.prepared, journey.now.epoch)}
        else:
            yield {**code(journey)._asdict()}

    def predict(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """The output for one input: a place in the plane, a row of the table, or the strokes of a digit."""
        journey = self._journey()
        experiment = journey.experiment
        answer: Json = {}
        if "strokes" in message:
            image = drawn_image(_images_of(experiment), parse_strokes(message["strokes"]))
            x, answer = image.reshape(1, -1), {"image": image.round(3).tolist()}
        else:
            x = _input(experiment, message.get("x"))
        yield prediction_program(experiment, journey.now.ts, x)
        yield answer | cast(Json, finite(predict(experiment, journey.now.ts, x)))

    def lesson(self, message: Json, stop: Callable[[], Stop]) -> Iterator[Part]:
        """The settings and the words of a lesson."""
        name = choice("name", message.get("name"), list(LESSONS))
        yield lesson(name, choice("language", message.get("language", "en"), LANGUAGES))


def _data_facts(prepared: Prepared) -> Json:
    """What the page is told about the data."""
    return {
        "problem": prepared.problem,
        "inputs": list(prepared.inputs),
        "classes": list(prepared.classes),
        "outputs": prepared.outputs,
        "domain": None if prepared.domain is None else list(prepared.domain),
        "rows": {"train": len(prepared.train[0]), "test": len(prepared.test[0])},
    }


def _model_facts(journey: Journey) -> Json:
    """What the page is told about the network."""
    params = journey.now.ts.params
    layers = [
        {"name": name, "leaves": {leaf: list(values.shape) for leaf, values in params[name].items()}}
        for name in sorted(params, key=_order_of)
    ]
    return {
        "batch_size": batch_size(journey.experiment),
        "shown": list(journey.experiment.shown),
        "layers": layers,
        "parameters": sum(leaf.size for leaves in params.values() for leaf in leaves.values()),
    }


def _order_of(name: str) -> tuple[int, str]:
    """The place of a layer by the number in its name; a dense layer comes before what belongs to it."""
    base, _, place = name.rpartition("_")
    found, kind = (int(place), base) if place.isdigit() else (0, name)
    return found, "" if kind == "dense" else kind


def _input(experiment: Experiment, value: object) -> np.ndarray:
    """One row of inputs, (1, inputs) float32."""
    plane = experiment.settings.data.name not in ("csv", *IMAGES)
    width = 2 if plane else len(experiment.prepared.inputs)
    if isinstance(value, list) and all(isinstance(row, list) for row in value):
        value = [one for row in value[: width + 1] for one in row[: width + 1]]
    if not isinstance(value, list) or len(value) != width:
        raise refuse("x", f"a list of {width} numbers", f"una lista de {width} números", value)
    x = np.array([[number(f"x[{i}]", one, -1e6, 1e6) for i, one in enumerate(value)]], np.float32)
    return features(x, experiment.settings.features) if plane else x


def _images_of(experiment: Experiment) -> str:
    """The data set of images, which a drawing has to look like."""
    name = experiment.settings.data.name
    if name not in IMAGES:
        raise RefusalError("strokes", "this needs a data set of images.", "esto necesita un conjunto de imágenes.")
    return name


_ACTIONS: dict[str, tuple[Callable[[Visitor, Json, Callable[[], Stop]], Iterator[Part]], tuple[str, ...]]] = {
    "set": (Visitor.set, ("settings",)),
    "play": (Visitor.play, ("epochs_per_frame",)),
    "pause": (Visitor.pause, ()),
    "step": (Visitor.step, ("epochs",)),
    "reset": (Visitor.reset, ()),
    "seed": (Visitor.seed, ("seed",)),
    "go": (Visitor.go, ("epoch",)),
    "hyper": (Visitor.hyper, ("values",)),
    "penalty": (Visitor.penalty, ("kind", "rate")),
    "weight": (Visitor.weight, ("layer", "leaf", "index", "value")),
    "view": (Visitor.show, ("resolution", "unit_resolution", "discretize", "show")),
    "many": (Visitor.many, ("over", "count", "epochs")),
    "surface": (Visitor.surface, ("resolution",)),
    "code": (Visitor.code, ()),
    "predict": (Visitor.predict, ("x", "strokes")),
    "lesson": (Visitor.lesson, ("name", "language")),
}
"""For each message what it does, and its fields."""
CHANGES = ("set", "reset", "seed", "step", "go", "hyper", "penalty", "weight", "view")
"""Messages after which the page gets a frame."""


def read(text: str) -> Json:
    """A message from its text.

    Raises:
      RefusalError: for text that is not a JSON object.
    """
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RefusalError("", "expected a JSON object.", "se esperaba un objeto JSON.") from None
    if not isinstance(message, dict):
        raise refuse("", "a JSON object", "un objeto JSON", message)
    return message


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
