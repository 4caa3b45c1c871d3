"""Source of the notebooks on units and networks; see ../build.py."""

# %% [markdown] en
# # 5. From neuron to network
#
# Where do neural networks come from, and why do they have layers? We start with a single neuron from 1943, find out
# what it cannot do, and end with networks that separate a spiral, and with one so deep that it does not learn.
# %% [markdown] es
# # 5. De la neurona a la red
#
# ¿De dónde vienen las redes neuronales y por qué tienen capas? Empezamos con una sola neurona de 1943, descubrimos
# qué es incapaz de hacer y terminamos con redes que separan una espiral, y con una tan profunda que no aprende.
# %%
import os
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn
from fnn import classic

# «short training runs, for tests|entrenamientos cortos, para pruebas»
QUICK = "FNN_QUICK" in os.environ
# %% [markdown] en
# ## A neuron that computes logic
#
# McCulloch and Pitts (1943) described a neuron as a **threshold unit**: its inputs are 0 or 1, and it fires (outputs
# 1) when their weighted sum reaches a threshold $\theta$:
#
# $$y = \begin{cases} 1 & \text{if } \sum_i w_i x_i \ge \theta\\ 0 & \text{otherwise} \end{cases}$$
#
# With suitable weights, it computes AND, OR or NOT.
# %% [markdown] es
# ## Una neurona que calcula lógica
#
# McCulloch y Pitts (1943) describieron la neurona como una **unidad de umbral**: sus entradas son 0 o 1, y se activa
# (1) cuando la suma ponderada alcanza un umbral $\theta$:
#
# $$y = \begin{cases} 1 & \text{si } \sum_i w_i x_i \ge \theta\\ 0 & \text{si no} \end{cases}$$
#
# Con los pesos adecuados calcula la conjunción (AND), la disyunción (OR) o la negación (NOT).
# %%
for name, unit in (("NOT", classic.NOT), ("AND", classic.AND), ("OR", classic.OR)):
    print(f"{name:4} w = {unit.weights}, θ = {unit.threshold}")

figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained")
for ax, name, unit in zip(axes, ("AND", "OR"), (classic.AND, classic.OR)):
    fnn.plot.unit(unit, ax=ax).set_title(name)
# %% [markdown] en
# On the line, the weighted sum equals the threshold. A unit with two inputs always splits the plane along a
# **straight line**. Now look at XOR, "one or the other, but not both": it fires at (0, 1) and (1, 0), and no straight
# line has these two points on one side and the other two on the other. A single unit cannot compute XOR.
#
# But several units can. Each AND, OR and NOT in this formula is a unit:
# %% [markdown] es
# La línea está donde la suma ponderada es igual al umbral. Una unidad de dos entradas siempre corta el plano por una
# **línea recta**. Ahora piensa en XOR, «uno u otro, pero no ambos»: se activa en (0, 1) y (1, 0), y ninguna recta
# deja esos dos puntos de un lado y los otros dos del otro. Una sola unidad no puede calcular XOR.
#
# Pero varias sí. Cada AND, OR y NOT de esta fórmula es una unidad:
# %%
xor = classic.formula("(a or b) and not (a and b)")
print(xor.table())
ax = fnn.plot.network(xor)
# %% [markdown] en
# ## A neuron that learns
#
# Rosenblatt's **perceptron** (1958) learns its weights. It looks at one example after another. If the answer $y$
# differs from the target $t$, it changes the weights and the bias $b$ (the negative threshold):
#
# $$w \leftarrow w + (t - y)\,x, \qquad b \leftarrow b + (t - y)$$
#
# If a straight line separates the classes, the rule finds one after finitely many corrections. We try it on irises:
# is a flower an *Iris setosa*? Two measurements of its petals have to suffice.
# %% [markdown] es
# ## Una neurona que aprende
#
# El **perceptrón** de Rosenblatt (1958) encuentra sus pesos por sí mismo. Mira un ejemplo tras otro. Cuando la
# respuesta $y$ no coincide con el objetivo $t$, mueve los pesos y el sesgo $b$ (el umbral con el signo cambiado):
#
# $$w \leftarrow w + (t - y)\,x, \qquad b \leftarrow b + (t - y)$$
#
# Si una recta separa las clases, la regla encuentra una tras un número finito de correcciones. Probémosla con los
# lirios: ¿es una flor una *Iris setosa*? Tienen que bastar dos medidas de sus pétalos.
# %%
flowers = fnn.data.iris()
petals, setosa = flowers.x[:, 2:], (flowers.y == 0).astype("int32")
found = classic.perceptron(petals, setosa)
print("«errors by epoch|errores por época»:", found.errors.tolist())
w, b = found.params["kernel"].ravel(), found.params["bias"]
print(f"w = ({w[0]:.2f}, {w[1]:.2f}), b = {b[0]:.2f}")

names = ("«others|otras»", "setosa")
ax = fnn.plot.decision_boundary(found.predict, petals, setosa, names=names)
labels = ax.set(
    xlabel="«petal length, cm|largo del pétalo, cm»",
    ylabel="«petal width, cm|ancho del pétalo, cm»",
)
# %% [markdown] en
# And XOR? The rule would never stop. `separable` checks beforehand whether such a line exists.
# %% [markdown] es
# ¿Y XOR? La regla daría vueltas para siempre. `separable` pregunta de antemano si existe alguna recta así.
# %%
corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
print("AND", classic.separable(corners, [0, 0, 0, 1]))
print("XOR", classic.separable(corners, [0, 1, 1, 0]))
# %% [markdown] en
# ## XOR by hand
#
# A layer of two units before the last one makes XOR possible: one computes OR, the other AND, and the last unit fires
# for "OR, but not AND". Here are the weights, as two dense layers with a step activation.
# %% [markdown] es
# ## XOR a mano
#
# Con una capa de dos unidades antes de la última, XOR es posible: una calcula OR, la otra AND, y la última se activa
# cuando «OR, pero no AND». Aquí están los pesos, como dos capas densas con un escalón como activación.
# %%
by_hand, weights = classic.xor_network()
for path, array in fnn.paths(weights).items():
    print(path, np.asarray(array).tolist())
print(np.asarray(by_hand.apply(weights, {}, corners)[0]).ravel())


# %% [markdown] en
# ## XOR, learned
#
# Rosenblatt had no rule for two layers. The solution came decades later: replace the step with an activation that has
# a *slope*, so that the loss has a gradient, and propagate the gradient back layer by layer (**backpropagation**).
# JAX does this for us.
#
# Our XOR is now a cloud: 500 points in four squares, with opposite squares in the same class. Without a hidden layer,
# the network does no better than a coin toss; with one, it succeeds.
# %% [markdown] es
# ## XOR, aprendido
#
# Para dos capas, Rosenblatt no tenía ninguna regla. La salida llegó décadas después: reemplazar el escalón por una
# activación con *pendiente*, para que la pérdida tenga gradiente, y llevar el gradiente hacia atrás, capa por capa
# (**retropropagación**). JAX lo hace por nosotros.
#
# Nuestro XOR es ahora una nube: 500 puntos en cuatro cuadrados, los opuestos de la misma clase. Sin capa oculta, la
# red no acierta más que lanzando una moneda; con una, lo consigue.
# %%
def play(data, hidden, activation, *, epochs, rate=0.03, ax=None):
    x, y = data(jax.random.key(0), 500)[:2]
    x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, test_size=0.5)
    layers = [fnn.Dense(units, activation=activation) for units in hidden]
    task = fnn.Task(
        fnn.Sequential(*layers, fnn.Dense(1)),
        "binary_crossentropy",
        fnn.adam(rate),
        metrics=("accuracy",),
    )
    ts = fnn.init(task, jax.random.key(0), x_train[:1])
    target, target_test = (
        part[:, None].astype("float32") for part in (y_train, y_test)
    )
    epochs = 2 if QUICK else epochs
    ts, _ = fnn.run(task, ts, (x_train, target), epochs=epochs, batch_size=10)
    accuracy = fnn.evaluate(task, ts, (x_test, target_test))["accuracy"]
    ax = fnn.plot.decision_boundary(
        partial(fnn.predict, task, ts), x_test, y_test, ax=ax
    )
    shape = "-".join(map(str, [2, *hidden, 1]))
    ax.set_title(f"{data.__name__}, {shape}, {activation}: {accuracy:.2f}", fontsize=9)
    ax.set(xlabel="", ylabel="")
    return task, ts


figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
_ = play(fnn.data.xor, [], "linear", epochs=60, ax=axes[0])
_ = play(fnn.data.xor, [8], "relu", epochs=100, ax=axes[1])
# %% [markdown] en
# ## Activation functions
#
# Without activations, several layers could do no more than one, because a product of matrices is again a matrix.
# These are the most common activations, with their derivatives dashed.
# %% [markdown] es
# ## Funciones de activación
#
# Sin activación, muchas capas no serían más que una: un producto de matrices vuelve a ser una matriz. Estas son las
# activaciones más usuales; las líneas discontinuas son sus derivadas.
# %%
fnn.plot.activations(["step", "sigmoid", "tanh", "relu"])
# %% [markdown] en
# ## A playground
#
# One hidden layer can separate circles: each of its units draws a straight line, and the last unit combines the lines
# into a closed curve. The spiral needs more.
# %% [markdown] es
# ## Un patio de juegos
#
# Para separar los círculos basta una capa oculta: cada unidad traza una recta y la última las une en una curva
# cerrada. La espiral necesita más.
# %%
figure, axes = plt.subplots(2, 2, figsize=(8, 7.4), layout="constrained")
_ = play(fnn.data.circles, [3], "relu", epochs=60, ax=axes[0, 0])
_ = play(fnn.data.circles, [8], "sigmoid", epochs=60, ax=axes[0, 1])
_ = play(fnn.data.spiral, [8], "tanh", epochs=150, rate=0.005, ax=axes[1, 0])
_ = play(fnn.data.spiral, [32, 32, 32], "tanh", epochs=150, rate=0.005, ax=axes[1, 1])
# %% [markdown] en
# ## Too deep: the vanishing gradient
#
# If more layers can do more, why not use many? On its way back through the network, the gradient is multiplied by the
# derivative of the activation in every layer. The derivative of the sigmoid is at most 1/4, so little is left after
# eight layers:
#
# $$\sigma'(z) = \sigma(z)\,\bigl(1 - \sigma(z)\bigr) \le \tfrac14, \qquad \left(\tfrac14\right)^8 \approx 0.000015$$
#
# The derivative of relu is 1 wherever the unit is active. Here is the same network of eight hidden layers with each
# of the two.
# %% [markdown] es
# ## Demasiado profunda: el desvanecimiento del gradiente
#
# Si con más capas se puede más, ¿por qué no poner muchas? En su camino de vuelta por la red, el gradiente se
# multiplica en cada capa por la derivada de la activación. La de la sigmoide vale como mucho 1/4; tras ocho capas,
# queda muy poco:
#
# $$\sigma'(z) = \sigma(z)\,\bigl(1 - \sigma(z)\bigr) \le \tfrac14, \qquad \left(\tfrac14\right)^8 \approx 0.000015$$
#
# La derivada de relu es 1 siempre que la unidad está activa. Aquí está la misma red de ocho capas ocultas con cada
# una.
# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
deep = {
    name: play(fnn.data.circles, [16] * 8, name, epochs=20, rate=0.003, ax=ax)
    for name, ax in zip(("sigmoid", "relu"), axes)
}
# %%
points = fnn.data.circles(jax.random.key(0), 500)
target = jnp.asarray(points.y)[:, None].astype("float32")


def gradient_by_layer(task):
    def loss(params):
        return task.loss(task.model.apply(params, {}, points.x)[0], target).mean()

    start = fnn.init(task, jax.random.key(0), points.x[:1])
    gradient = jax.grad(loss)(start.params)
    layers = ["dense", *(f"dense_{i}" for i in range(1, 9))]
    return {
        i: jnp.linalg.norm(gradient[name]["kernel"]) for i, name in enumerate(layers, 1)
    }


norms = {name: gradient_by_layer(task) for name, (task, _) in deep.items()}
for name, by_layer in norms.items():
    print(f"{name}: {by_layer[9] / by_layer[1]:,.0f}")
ax = fnn.plot.layer_statistics(
    norms, ylabel="«norm of the gradient|norma del gradiente»"
)
# %% [markdown] en
# Before training, the gradient in the first layer of the sigmoid network is hundreds of thousands of times smaller
# than in its last layer. Its first layers hardly move, so it is still guessing long after the relu network has
# learned the task.
#
# ## Exercises
#
# 1. Write "a if and only if b" as a formula for `classic.formula`, and draw its network.
# 2. Train the perceptron on *versicolor* (`flowers.y == 1`) instead of *setosa*. Are the classes separable? What
#    happens?
# 3. What is the smallest hidden layer that can separate circles? And XOR? Try several keys.
# 4. Replace relu in the deep network with `tanh`, whose derivative is at most 1. What does the gradient look like?
#
# Back to: [a first network](01_first_network.en.ipynb).
# %% [markdown] es
# Antes de entrenar, el gradiente de la primera capa de la red con sigmoides es cientos de miles de veces menor que el
# de la última. Sus primeras capas apenas se mueven, y por eso sigue adivinando cuando la red con relu ha terminado hace
# rato.
#
# ## Ejercicios
#
# 1. Escribe «a si y solo si b» como fórmula para `classic.formula` y dibuja su red.
# 2. Pregúntale al perceptrón por *versicolor* (`flowers.y == 1`) en lugar de *setosa*. ¿Son separables las clases?
#    ¿Qué pasa?
# 3. ¿Cuál es la capa oculta más pequeña con la que se separan los círculos? ¿Y XOR? Prueba con varias claves.
# 4. Reemplaza relu en la red profunda por `tanh`, cuya derivada es como mucho 1. ¿Cómo queda el gradiente?
#
# Volver a: [una primera red](01_primera_red.es.ipynb).
