"""One visitor's messages, each answered by a plain function: no sockets, no threads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import cast

from .choices import PENALTIES
from .experiment import Weight, batch_size, build
from .journey import Journey
from .script import code
from .settings import (
    Refusal,
    Settings,
    choice,
    counted,
    flag,
    integer,
    limited,
    mapping,
    names,
    parse,
    parse_hyper,
    parse_penalty,
    refuse,
    to_json,
)
from .views import SHOWN, View, frame

Json = dict[str, object]
Stop = Callable[[], bool]


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
        self.journey: Journey | None = None
        self.view = View()
        self.playing = False
        self.epochs_per_frame = 1
        self.frames = 0
        self._known = -1  # the last epoch whose losses the page has
        self._fresh = True

    def answer(self, message: Json, stop: Stop = never) -> Json:
        """Do what a message asks for, and return the answer.

        Raises:
          Refusal: for a message that cannot be served; nothing has changed then.
        """
        do = choice("do", message.get("do"), list(_ACTIONS))
        action, fields = _ACTIONS[do]
        mapping("", message, ["id", "do", *fields])
        return action(self, message, stop)

    def frame(self) -> bytes:
        """The frame of the current moment."""
        journey = self._journey()
        self.frames += 1
        made = frame(journey, self.view, self.frames, self._known, fresh=self._fresh).encode()
        self._known, self._fresh = journey.now.epoch, False
        return made

    def train(self, stop: Stop = never) -> None:
        """Train for the epochs of one frame."""
        self._journey().train(self.epochs_per_frame, stop)
        self._journey().measure()

    def _journey(self) -> Journey:
        if self.journey is None:
            raise Refusal("do", "send settings first.", "primero hay que enviar los ajustes.")
        return self.journey

    def set(self, message: Json, stop: Stop) -> Json:
        """Build the experiment of these settings."""
        return self._begin(parse(message.get("settings", {})))

    def _begin(self, settings: Settings) -> Json:
        experiment = build(settings)
        self.journey = Journey(experiment)
        self.playing, self._fresh = False, True
        prepared, params = experiment.prepared, self.journey.now.ts.params
        layers = [
            {"name": name, "leaves": {leaf: list(values.shape) for leaf, values in leaves.items()}}
            for name, leaves in params.items()
        ]
        return {
            "settings": to_json(settings),
            "problem": prepared.problem,
            "inputs": list(prepared.inputs),
            "classes": list(prepared.classes),
            "outputs": prepared.outputs,
            "domain": None if prepared.domain is None else list(prepared.domain),
            "rows": {"train": len(prepared.train[0]), "test": len(prepared.test[0])},
            "batch_size": batch_size(experiment),
            "shown": list(experiment.shown),
            "layers": sorted(layers, key=lambda layer: order_of(cast(str, layer["name"]))),
            "parameters": sum(leaf.size for leaves in params.values() for leaf in leaves.values()),
        }

    def reset(self, message: Json, stop: Stop) -> Json:
        """Begin again with the same settings."""
        return self._begin(self._journey().experiment.settings)

    def seed(self, message: Json, stop: Stop) -> Json:
        """Begin again with another seed."""
        seed = counted("seed", message.get("seed"), "seed")
        return self._begin(dataclasses.replace(self._journey().experiment.settings, seed=seed))

    def play(self, message: Json, stop: Stop) -> Json:
        """Train from now on."""
        epochs = counted("epochs_per_frame", message.get("epochs_per_frame", 1), "epochs_per_frame")
        self._journey()
        self.playing, self.epochs_per_frame = True, epochs
        return {}

    def pause(self, message: Json, stop: Stop) -> Json:
        """Stop training."""
        self.playing = False
        return {"epoch": self._journey().now.epoch}

    def step(self, message: Json, stop: Stop) -> Json:
        """Train for some epochs, or fewer if they take too long; ``done`` says how many."""
        epochs = counted("epochs", message.get("epochs", 1), "epochs")
        journey = self._journey()
        self.playing = False
        done = journey.train(epochs, stop)
        journey.measure()
        return {"epoch": journey.now.epoch, "done": done}

    def go(self, message: Json, stop: Stop) -> Json:
        """Return to an epoch; ``done`` is false if it takes longer, and the message has to be sent again."""
        journey = self._journey()
        epoch = integer("epoch", message.get("epoch"), 0, journey.reached)
        self.playing = False
        self._known = min(self._known, epoch)
        return {"epoch": epoch, "done": journey.go(epoch, stop)}

    def hyper(self, message: Json, stop: Stop) -> Json:
        """Change hyper-parameters of the optimizer."""
        journey = self._journey()
        values = parse_hyper("values", journey.experiment.settings.optimizer, message.get("values", {}))
        if not values:
            raise refuse("values", "at least one number", "al menos un número", {})
        journey.change(values)
        return {"epoch": journey.now.epoch, "values": values}

    def penalty(self, message: Json, stop: Stop) -> Json:
        """Change the penalty."""
        given = {key: message[key] for key in ("kind", "rate") if key in message}
        choice("kind", given.get("kind", "none"), PENALTIES)
        penalty = parse_penalty("", given)
        journey = self._journey()
        journey.change(penalty)
        return {"epoch": journey.now.epoch, **dataclasses.asdict(penalty)}

    def weight(self, message: Json, stop: Stop) -> Json:
        """Change one weight."""
        journey = self._journey()
        index = message.get("index")
        given = index if isinstance(index, list) else [index]
        place = tuple(integer(f"index[{i}]", one, 0, 2**31) for i, one in enumerate(given[:3]))
        value = limited("value", message.get("value"), "weight")
        layer, leaf = (str(message.get(name))[:40] for name in ("layer", "leaf"))
        journey.change(Weight(layer, leaf, place, value))
        journey.measure()
        self._known = min(self._known, journey.now.epoch - 1)
        return {"epoch": journey.now.epoch}

    def show(self, message: Json, stop: Stop) -> Json:
        """Change what frames show."""
        old = self.view
        show = message.get("show", list(old.show))
        self.view = View(
            resolution=counted("resolution", message.get("resolution", old.resolution), "resolution"),
            unit_resolution=counted(
                "unit_resolution", message.get("unit_resolution", old.unit_resolution), "unit_resolution"
            ),
            discretize=flag("discretize", message.get("discretize", old.discretize)),
            show=names("show", show, SHOWN),
        )
        self._fresh = self._fresh or ("points" in self.view.show and "points" not in old.show)
        return {}

    def code(self, message: Json, stop: Stop) -> Json:
        """The scripts of the experiment up to now."""
        return {**code(self._journey())._asdict()}


def order_of(name: str) -> tuple[int, str]:
    """The place of a layer by the number in its name."""
    base, _, number = name.rpartition("_")
    return (int(number), base) if number.isdigit() else (0, name)


_ACTIONS: dict[str, tuple[Callable[[Visitor, Json, Stop], Json], tuple[str, ...]]] = {
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
    "code": (Visitor.code, ()),
    "view": (Visitor.show, ("resolution", "unit_resolution", "discretize", "show")),
}
"""For each message what it does, and its fields."""


def read(text: str) -> Json:
    """A message from its text.

    Raises:
      Refusal: for text that is not a JSON object.
    """
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal("", "expected a JSON object.", "se esperaba un objeto JSON.") from None
    if not isinstance(message, dict):
        raise refuse("", "a JSON object", "un objeto JSON", message)
    return message


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
