"""Source of the chapter on hidden layers; see ../../course.py."""

# %% [markdown] en
# # 4. Hidden layers and backpropagation
#
# One neuron draws one straight line. To separate a disc from the ring around it, or the four corners of XOR, we need a
# **hidden layer**: neurons between the inputs and the output, each of which draws a line of its own. The output neuron
# combines them:
#
# $$h = \tanh(W_1^{\top} x + b_1), \qquad z = w_2^{\top} h + b_2, \qquad p = \sigma(z)$$
#
# ## How many units?
#
# Here is a disc of points inside a ring, and networks with one, two and four hidden units:
# %% [markdown] es
# # 4. Capas ocultas y retropropagación
#
# Una neurona traza una recta. Para separar un disco del anillo que lo rodea, o las cuatro esquinas de XOR, hace falta
# una **capa oculta**: neuronas entre las entradas y la salida, cada una con su recta. La neurona de salida las
# combina:
#
# $$h = \tanh(W_1^{\top} x + b_1), \qquad z = w_2^{\top} h + b_2, \qquad p = \sigma(z)$$
#
# ## ¿Cuántas unidades?
#
# Aquí tienes un disco de puntos dentro de un anillo, y redes con una, dos y cuatro unidades ocultas:
# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn


def train(data, *hidden, activation="tanh", epochs=100):
    layers = [fnn.Dense(units, activation=activation) for units in hidden]
    model = fnn.Sequential(*layers, fnn.Dense(1))
    task = fnn.Task(model, "binary_crossentropy", fnn.adam(0.03), ("accuracy",))
    ts = fnn.init(task, jax.random.key(1), data.x)
    ts, history = fnn.run(task, ts, (data.x, data.y), epochs=epochs)
    return task, ts, float(history["accuracy"][-1])


rings = fnn.data.circles(jax.random.key(0), 300, noise=0.05)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for units, ax in zip((1, 2, 4), axes):
    task, ts, accuracy = train(rings, units)
    fnn.plot.decision_boundary(partial(fnn.predict, task, ts), rings.x, rings.y, ax=ax)
    ax.set_title(f"{units} «hidden|en la capa oculta»: {accuracy:.2f}", fontsize=10)
# %% [markdown] en
# ![One unit cuts the plane once, two make a band, four enclose the inner disc](04_hidden_layers.png)
#
# One unit cuts the plane once. Two make a band. Four can enclose the disc. Nobody told the units where to draw their
# lines: that is what the network learned.
#
# And XOR, without a hidden layer and with eight units?
# %% [markdown] es
# ![Una unidad corta el plano, dos forman una banda y cuatro encierran el disco](04_capas_ocultas.png)
#
# Una unidad corta el plano una vez. Dos forman una banda. Cuatro pueden encerrar el disco. Nadie ha dicho a las
# unidades dónde trazar sus rectas: eso es lo que la red ha aprendido.
#
# ¿Y XOR, sin capa oculta y con ocho unidades?
# %%
xor = fnn.data.xor(jax.random.key(0), 300)
for hidden in ([], [8]):
    print(hidden, f"{train(xor, *hidden)[2]:.2f}")  # «varies|varía»
# %% [markdown] en
# ## Backpropagation
#
# Gradient descent needs the slope of the loss for *every* weight. For the output neuron, that is [chapter
# 3](03_gradient_descent.md). For a hidden weight, use the chain rule: ask how the loss depends on the output, the
# output on the hidden unit, and the hidden unit on its weight. **Backpropagation** does this layer by layer, from the
# loss back to the inputs, and reuses each result for the layer before it:
#
# $$\delta_z = \frac{p - y}{n}, \qquad \delta_h = \delta_z \, w_2^{\top}, \qquad \delta_a = \delta_h \odot (1 - h^2)$$
#
# Here $\delta_z$ is short for $\partial L / \partial z$, and $a$ is the hidden layer's sum before the tanh, whose
# derivative is $1 - h^2$. A weight's slope is its input times the slope of the sum that it enters. In NumPy, for all
# examples at once:
# %% [markdown] es
# ## Retropropagación
#
# El descenso de gradiente necesita la pendiente de la pérdida para *cada* peso. Para la neurona de salida basta el
# [capítulo 3](03_descenso_de_gradiente.md). Para un peso oculto se usa la regla de la cadena: cómo depende la pérdida
# de la salida, la salida de la unidad oculta, y la unidad oculta de su peso. La **retropropagación**
# (*backpropagation*) lo hace capa por capa, desde la pérdida hacia las entradas, y aprovecha cada resultado en la capa
# anterior:
#
# $$\delta_z = \frac{p - y}{n}, \qquad \delta_h = \delta_z \, w_2^{\top}, \qquad \delta_a = \delta_h \odot (1 - h^2)$$
#
# Aquí $\delta_z$ abrevia $\partial L / \partial z$, y $a$ es la suma de la capa oculta antes de la tanh, cuya derivada
# es $1 - h^2$. La pendiente de un peso es su entrada por la pendiente de la suma en la que entra. En NumPy, para todos
# los ejemplos a la vez:
# %%
x, y = np.asarray(rings.x), np.asarray(rings.y, "float32")[:, None]
params = {
    "hidden": fnn.dense_init(jax.random.key(0), 2, 4),
    "output": fnn.dense_init(jax.random.key(1), 4, 1),
}


def backpropagation(params):
    kernel = np.asarray(params["output"]["kernel"])
    # «Forward: keep what the way back needs.|Hacia delante: se guarda lo que hará falta a la vuelta.»
    h = np.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    p = 1 / (1 + np.exp(-(h @ kernel + params["output"]["bias"])))
    # «Backward: one line for each layer.|Hacia atrás: una línea por capa.»
    dz = (p - y) / len(x)
    da = dz @ kernel.T * (1 - h**2)
    return {
        "hidden": {"kernel": x.T @ da, "bias": da.sum(0)},
        "output": {"kernel": h.T @ dz, "bias": dz.sum(0)},
    }


def loss(params):
    h = jnp.tanh(fnn.dense(params["hidden"], x))
    z = fnn.dense(params["output"], h)
    return fnn.losses.binary_crossentropy(z, y).mean()


by_hand, by_jax = backpropagation(params), jax.grad(loss)(params)
print(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), by_hand, by_jax))
# %% [markdown] en
# `jax.grad` does the same for any function, so no layer in fnn has a backward pass written by hand. One pass back
# costs about as much as two passes forward, however many weights there are. That is why networks with millions of
# weights can learn at all.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson xor`. Add a hidden layer, and watch
# the line of each unit.
#
# ## Exercises
# %% [markdown] es
# `jax.grad` hace lo mismo con cualquier función, así que en fnn ninguna capa lleva escrita a mano su pasada hacia
# atrás. Una pasada hacia atrás cuesta más o menos como dos hacia delante, por muchos pesos que haya. Por eso pueden
# aprender redes con millones de pesos.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson xor`. Añade una capa oculta y
# mira la recta de cada unidad.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** How many parameters does a network with 2 inputs, 8 hidden units and 1 output have? Count, then
# check.
# %% [markdown] es
# **Ejercicio 1.** ¿Cuántos parámetros tiene una red con 2 entradas, 8 unidades ocultas y 1 salida? Cuenta y comprueba.
# %% [markdown] en
# $8 \cdot (2 + 1)$ in the hidden layer and $8 + 1$ in the output, 33 in total.
# %% [markdown] es
# $8 \cdot (2 + 1)$ en la capa oculta y $8 + 1$ en la salida: 33 en total.
# %%
model = fnn.Sequential(fnn.Dense(8, activation="tanh"), fnn.Dense(1))
print(fnn.summary(model, x))
# %% [markdown] en
# **Exercise 2.** Take the activation away from the hidden layer. Why does it no longer help?
# %% [markdown] es
# **Ejercicio 2.** Quita la activación de la capa oculta. ¿Por qué ya no sirve?
# %%
_, ts, accuracy = train(rings, 8, activation="linear")
first, last = ts.params["dense"], ts.params["dense_1"]
single = {
    "kernel": first["kernel"] @ last["kernel"],
    "bias": first["bias"] @ last["kernel"] + last["bias"],
}
both = fnn.dense(last, fnn.dense(first, x))
print(accuracy < 0.7, np.allclose(both, fnn.dense(single, x), atol=1e-4))


# %% [markdown] en
# Two linear layers are one linear layer, whose weights are the product of both. It draws a single line again.
# %% [markdown] es
# Dos capas lineales son una sola capa lineal, cuyos pesos son el producto de ambas. Vuelve a trazar una única recta.
# %% [markdown] en
# **Exercise 3.** How often do 2 and 4 hidden units learn XOR? Train from eight keys at once with `fnn.many`.
# %% [markdown] es
# **Ejercicio 3.** ¿Cuántas veces aprenden XOR 2 y 4 unidades ocultas? Entrena con ocho claves a la vez con `fnn.many`.
# %%
def successes(units):
    model = fnn.Sequential(fnn.Dense(units, activation="tanh"), fnn.Dense(1))
    task = fnn.Task(model, "binary_crossentropy", fnn.adam(0.03), ("accuracy",))

    def trial(key):
        ts = fnn.init(task, key, xor.x)
        _, history = fnn.run(task, ts, (xor.x, xor.y), epochs=100)
        return history["accuracy"][-1]

    found = jax.jit(fnn.many(trial))(jax.random.split(jax.random.key(0), 8))
    return int((found > 0.95).sum())


for units in (2, 4):
    print(units, successes(units), "«of|de»", 8)  # «varies|varía»
# %% [markdown] en
# Two units were enough for the four corners of [chapter 2](02_perceptron.md). Four squares of points need more: two
# units make a band at best, and get nine points of ten right. Three can do it; with more than that, more starts
# succeed.
# %% [markdown] es
# Para las cuatro esquinas del [capítulo 2](02_perceptron.md) bastaban dos unidades. Cuatro cuadrados de puntos piden
# más: con dos sale a lo sumo una banda, que acierta nueve puntos de diez. Con tres se puede, y con más lo consiguen más
# comienzos.
