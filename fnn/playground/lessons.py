"""Lessons: settings that show one thing, and what to look for, in English and in Spanish."""

from __future__ import annotations

from typing import NamedTuple

from .settings import Settings, parse, to_json


class Text(NamedTuple):
    """The words of a lesson.

    Attributes:
      title: a few words.
      text: what this is about.
      look: what to do and what to look for, step by step.
    """

    title: str
    text: str
    look: tuple[str, ...]


class Lesson(NamedTuple):
    """A lesson: settings as the page sends them, and its words by language."""

    settings: dict[str, object]
    words: dict[str, Text]

    def complete(self) -> Settings:
        """The settings with all defaults."""
        return parse(self.settings)


def _hidden(*units: int, activation: str = "tanh") -> list[dict[str, object]]:
    return [{"units": count, "activation": activation} for count in units]


LESSONS = {
    "one-neuron": Lesson(
        {"data": {"name": "gaussians", "noise": 0.1}, "layers": []},
        {
            "en": Text(
                "One neuron",
                "A single neuron adds up its weighted inputs and a bias. Its decision boundary is a straight line, and "
                "training turns and shifts that line until the two clouds lie on different sides.",
                (
                    "Press play. The line settles within a few epochs, and both losses fall together.",
                    "Click a weight and change it. Which number turns the line, and which one shifts it?",
                    "Choose the circles. One line cannot enclose them: the loss stops falling near 0.69, which is "
                    "guessing.",
                    "Add the features x1² and x2². The same neuron now separates the circles, because the boundary is "
                    "a line in the new inputs.",
                ),
            ),
            "es": Text(
                "Una sola neurona",
                "Una neurona suma sus entradas multiplicadas por los pesos y añade un sesgo. Su frontera de decisión "
                "es una recta, y el entrenamiento la gira y la desplaza hasta que las dos nubes quedan a lados "
                "distintos.",
                (
                    "Pulsa el botón de entrenar. La recta se estabiliza en pocas épocas y las dos pérdidas bajan "
                    "juntas.",
                    "Haz clic en un peso y cámbialo. ¿Qué número gira la recta y cuál la desplaza?",
                    "Elige los círculos. Ninguna recta los separa: la pérdida se detiene cerca de 0,69, que equivale a "
                    "adivinar.",
                    "Añade las características x1² y x2². La misma neurona separa ahora los círculos, porque la "
                    "frontera es una recta en las nuevas entradas.",
                ),
            ),
        },
    ),
    "xor": Lesson(
        {"data": {"name": "xor"}, "layers": []},
        {
            "en": Text(
                "XOR needs a hidden layer",
                "Points whose coordinates have the same sign belong to one class, the others to the second. No "
                "straight line separates them, so a network without a hidden layer cannot learn this (Minsky and "
                "Papert, 1969).",
                (
                    "Train without a hidden layer. The accuracy stays near one half.",
                    "Add a hidden layer of four units and train again. Each unit draws one line, and the output "
                    "combines them.",
                    "Take units away. Three can be enough, but not from every start: try several seeds. Two only make "
                    "a band.",
                    "Run 16 seeds side by side. Some reach the solution and some get stuck, and the spread shows where "
                    "they disagree.",
                ),
            ),
            "es": Text(
                "XOR necesita una capa oculta",
                "Los puntos cuyas coordenadas tienen el mismo signo forman una clase y los demás, la otra. Ninguna "
                "recta las separa, así que una red sin capa oculta no puede aprenderlo (Minsky y Papert, 1969).",
                (
                    "Entrena sin capa oculta. La exactitud se queda cerca de la mitad.",
                    "Añade una capa oculta de cuatro unidades y vuelve a entrenar. Cada unidad traza una recta y la "
                    "salida las combina.",
                    "Quita unidades. Tres pueden bastar, pero no desde cualquier inicio: prueba varias semillas. Con "
                    "dos solo sale una banda.",
                    "Entrena 16 semillas a la vez. Unas llegan a la solución y otras se atascan; la dispersión muestra "
                    "dónde no están de acuerdo.",
                ),
            ),
        },
    ),
    "sigmoid-relu": Lesson(
        {
            "data": {"name": "circles"},
            "layers": _hidden(8, 8, 8, 8, 8, 8, activation="sigmoid"),
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "seed": 0,
        },
        {
            "en": Text(
                "Sigmoid against ReLU",
                "The slope of a sigmoid is at most 1/4, and the gradient is multiplied by such a slope in every layer "
                "on its way back. Six sigmoid layers leave almost nothing for the first one: the gradient vanishes.",
                (
                    "Look at the gradient of each layer before training. It shrinks from the output back to the first "
                    "layer.",
                    "Train. The loss barely moves.",
                    "Change every activation to ReLU and train again. The gradients have similar sizes in all layers, "
                    "and the network learns.",
                    "Look at the dead units. A ReLU that is 0 for every point gets no gradient, and stays as it is.",
                ),
            ),
            "es": Text(
                "Sigmoide frente a ReLU",
                "La pendiente de una sigmoide es como mucho 1/4, y el gradiente se multiplica por una pendiente así en "
                "cada capa en su camino de vuelta. Seis capas sigmoides no dejan casi nada para la primera: el "
                "gradiente se desvanece.",
                (
                    "Mira el gradiente de cada capa antes de entrenar. Disminuye desde la salida hasta la primera "
                    "capa.",
                    "Entrena. La pérdida apenas se mueve.",
                    "Cambia todas las activaciones a ReLU y vuelve a entrenar. Los gradientes tienen tamaños parecidos "
                    "en todas las capas y la red aprende.",
                    "Mira las unidades muertas. Una ReLU que vale 0 en todos los puntos no recibe gradiente y se queda "
                    "como está.",
                ),
            ),
        },
    ),
    "learning-rate": Lesson(
        {
            "data": {"name": "xor", "noise": 0.1},
            "layers": _hidden(8),
            "optimizer": {"name": "sgd", "learning_rate": 3.0},
        },
        {
            "en": Text(
                "A learning rate that is too high",
                "The gradient says which way is down, and the learning rate how far to go. Steps that are too long "
                "jump across the valley, and the loss jumps too or rises.",
                (
                    "Train with the learning rate of 3. The loss curve is jagged, and the boundary jumps.",
                    "While it trains, lower the rate to 0.3 and then to 0.03. The curve becomes smooth.",
                    "Go back to an early epoch and continue with 0.0003. Every step is safe, but nothing happens.",
                    "Train several learning rates side by side, and compare their loss curves.",
                ),
            ),
            "es": Text(
                "Una tasa de aprendizaje demasiado alta",
                "El gradiente indica hacia dónde se baja, y la tasa de aprendizaje, cuánto se avanza. Los pasos "
                "demasiado largos saltan de un lado a otro del valle, y la pérdida también salta o incluso sube.",
                (
                    "Entrena con una tasa de 3. La curva de pérdida es irregular y la frontera da saltos.",
                    "Mientras entrena, baja la tasa a 0,3 y luego a 0,03. La curva se suaviza.",
                    "Vuelve a una época temprana y continúa con 0,0003. Cada paso es seguro, pero no ocurre nada.",
                    "Entrena varias tasas de aprendizaje a la vez y compara sus curvas de pérdida.",
                ),
            ),
        },
    ),
    "overfitting": Lesson(
        {
            "data": {"name": "gaussians", "size": 60, "noise": 0.5, "train": 0.4},
            "features": ["x1", "x2", "x1^2", "x2^2", "x1*x2", "sin(x1)", "sin(x2)"],
            "layers": _hidden(16, 16),
            "optimizer": {"name": "adam", "learning_rate": 0.03},
            "batch_size": 4,
        },
        {
            "en": Text(
                "Overfitting and L2",
                "A network with many weights can memorize a few noisy points. The training loss then goes to 0 while "
                "the test loss rises: the boundary bends around single points.",
                (
                    "Train for 100 epochs. When does the test loss turn upwards?",
                    "Go back to the epoch where it was lowest. Stopping there is called early stopping.",
                    "Start again with an L2 penalty of 0.01. The weights stay small and the boundary smooth.",
                    "Compare with dropout, with fewer units, and with more training rows.",
                ),
            ),
            "es": Text(
                "Sobreajuste y L2",
                "Una red con muchos pesos puede memorizar unos pocos puntos ruidosos. La pérdida de entrenamiento "
                "llega a 0 mientras la de prueba sube: la frontera se curva alrededor de puntos sueltos.",
                (
                    "Entrena 100 épocas. ¿Cuándo empieza a subir la pérdida de prueba?",
                    "Vuelve a la época en que fue mínima. Detenerse ahí se llama parada temprana.",
                    "Empieza de nuevo con una penalización L2 de 0,01. Los pesos se mantienen pequeños y la frontera, "
                    "suave.",
                    "Compáralo con dropout, con menos unidades y con más filas de entrenamiento.",
                ),
            ),
        },
    ),
}
"""The lessons of the course by name."""
LANGUAGES = ("en", "es")


def listed() -> list[dict[str, object]]:
    """Names and titles, for the first message."""
    return [
        {"id": name, "title": {key: one.title for key, one in lesson.words.items()}} for name, lesson in LESSONS.items()
    ]


def lesson(name: str, language: str) -> dict[str, object]:
    """The settings and the words of a lesson."""
    words = LESSONS[name].words[language]
    settings = to_json(LESSONS[name].complete())
    return {"lesson": name, "settings": settings, "title": words.title, "text": words.text, "look": list(words.look)}
