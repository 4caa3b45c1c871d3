"""Source of the chapter on single neurons; see ../../course.py."""

# %% [markdown] en
# # 1. The artificial neuron
#
# A neuron in the brain receives signals from other neurons. If together they are strong enough, it sends a signal
# itself. In 1943, Warren McCulloch and Walter Pitts turned this into a formula: the **threshold unit**. Its inputs are
# 0 or 1, each input $x_i$ has a weight $w_i$, and the unit outputs 1 if the weighted sum reaches a threshold $\theta$:
#
# $$y = \begin{cases} 1 & \text{if } \sum_i w_i x_i \ge \theta\\ 0 & \text{otherwise} \end{cases}$$
#
# With suitable weights, one unit computes a logical operation. For AND, both inputs have weight 1 and the threshold is
# 2: the sum only reaches it if both inputs are 1. For OR, a threshold of 1 is enough.
# %% [markdown] es
# # 1. La neurona artificial
#
# Una neurona del cerebro recibe señales de otras neuronas. Si entre todas son lo bastante fuertes, ella también envía
# una señal. En 1943, Warren McCulloch y Walter Pitts convirtieron esa idea en una fórmula: la **unidad de umbral**.
# Sus entradas son 0 o 1, cada entrada $x_i$ tiene un peso $w_i$, y la unidad vale 1 si la suma ponderada llega a un
# umbral $\theta$:
#
# $$y = \begin{cases} 1 & \text{si } \sum_i w_i x_i \ge \theta\\ 0 & \text{si no} \end{cases}$$
#
# Con los pesos adecuados, una sola unidad calcula una operación lógica. Para la conjunción (AND), las dos entradas
# tienen peso 1 y el umbral es 2: la suma solo llega si ambas entradas son 1. Para la disyunción (OR) basta un umbral
# de 1.
# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt

import fnn
from fnn import classic

my_and = classic.Unit(weights=(1, 1), threshold=2)
my_or = classic.Unit(weights=(1, 1), threshold=1)
for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]:
    print(a, b, "AND:", my_and(a, b), "OR:", my_or(a, b))
# %% [markdown] en
# A negative weight makes an input *inhibit* the unit. NOT needs a single input with weight -1 and threshold 0.
# %% [markdown] es
# Con un peso negativo, la entrada *inhibe* la unidad. La negación (NOT) necesita una sola entrada, con peso -1 y
# umbral 0.
# %%
my_not = classic.Unit(weights=(-1,), threshold=0)
print(my_not(0), my_not(1))
# %% [markdown] en
# ## What a unit looks like
#
# Take the two inputs as coordinates of a point. The points where the weighted sum equals the threshold,
# $w_1 x_1 + w_2 x_2 = \theta$, form a straight line. On one side the unit fires, on the other it does not. Changing
# the threshold shifts the line; changing the weights turns it.
# %% [markdown] es
# ## Qué aspecto tiene una unidad
#
# Toma las dos entradas como coordenadas de un punto. Los puntos donde la suma ponderada es igual al umbral,
# $w_1 x_1 + w_2 x_2 = \theta$, forman una recta. A un lado la unidad se activa; al otro, no. Al cambiar el umbral, la
# recta se desplaza; al cambiar los pesos, gira.
# %%
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained")
for ax, name, unit in zip(axes, ("AND", "OR"), (my_and, my_or)):
    fnn.plot.unit(unit, ax=ax).set_title(name)
# %% [markdown] en
# ![AND fires at (1, 1) only, OR at all corners but (0, 0); a straight line bounds each region](01_neuron.png)
#
# ## From units to formulas
#
# The output of one unit can be the input of another, so units compute any formula of logic. `classic.formula` reads a
# formula and makes a unit for each operation in it:
# %% [markdown] es
# ![AND se activa solo en (1, 1) y OR en todas las esquinas menos (0, 0); una recta limita cada zona](01_neurona.png)
#
# ## De las unidades a las fórmulas
#
# La salida de una unidad puede ser la entrada de otra, así que con unidades se calcula cualquier fórmula lógica.
# `classic.formula` lee una fórmula y crea una unidad para cada operación:
# %%
rule = "«rain and not (car or home)|lluvia and not (coche or casa)»"
umbrella = classic.formula(rule)
print(umbrella.table())
for node in umbrella.nodes:
    print(node.name, node.inputs, node.unit.weights, node.unit.threshold)
# %% [markdown] en
# Three units: an OR of two inputs, a NOT of its output, and an AND. This is a network of neurons, with weights chosen
# by hand.
#
# ## From thresholds to numbers
#
# The modern neuron keeps the weighted sum and replaces two things. The threshold becomes a **bias** $b = -\theta$ on
# the other side of the comparison, and the jump from 0 to 1 becomes a smooth **activation function**, such as the
# sigmoid:
#
# $$y = \sigma\Bigl(\sum_i w_i x_i + b\Bigr), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}$$
#
# Inputs may be any numbers, and the output lies between 0 and 1. In fnn, this is a dense layer with one unit:
# %% [markdown] es
# Son tres unidades: un OR de dos entradas, un NOT de su salida y un AND. Ya es una red de neuronas, con pesos elegidos
# a mano. (En las fórmulas, las palabras `and`, `or` y `not` van en inglés).
#
# ## De los umbrales a los números
#
# La neurona moderna conserva la suma ponderada y cambia dos cosas. El umbral pasa al otro lado de la comparación como
# **sesgo**, $b = -\theta$, y el salto de 0 a 1 se convierte en una **función de activación** suave, como la sigmoide:
#
# $$y = \sigma\Bigl(\sum_i w_i x_i + b\Bigr), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}$$
#
# Las entradas pueden ser números cualesquiera y la salida está entre 0 y 1. En fnn es una capa densa con una unidad:
# %%
x = jnp.array([[0.4, 1.2, 3.5]])
params = {"kernel": jnp.array([[1.0], [2.0], [1.0]]), "bias": jnp.array([1.3])}
z = fnn.dense(params, x)
print(f"z = {z.item():.2f}, y = {fnn.activations.sigmoid(z).item():.6f}")
# %% [markdown] en
# By hand: $z = 0.4 \cdot 1 + 1.2 \cdot 2 + 3.5 \cdot 1 + 1.3 = 7.6$. The sigmoid of 7.6 is almost 1, so this neuron
# fires.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson one-neuron` shows one neuron and the
# line it draws.
#
# ## Exercises
# %% [markdown] es
# A mano: $z = 0.4 \cdot 1 + 1.2 \cdot 2 + 3.5 \cdot 1 + 1.3 = 7.6$. La sigmoide de 7,6 es casi 1, así que esta neurona
# se activa.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson one-neuron` muestra una neurona y
# la recta que traza.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Find weights and a threshold for NAND, which is 0 only if both inputs are 1.
# %% [markdown] es
# **Ejercicio 1.** Encuentra pesos y umbral para NAND, que vale 0 solo si ambas entradas son 1.
# %%
nand = classic.Unit(weights=(-1, -1), threshold=-1)
print([nand(a, b) for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]])
# %% [markdown] en
# **Exercise 2.** Three judges vote 0 or 1. Which single unit outputs the majority?
# %% [markdown] es
# **Ejercicio 2.** Tres jueces votan 0 o 1. ¿Qué unidad da la decisión de la mayoría?
# %%
majority = classic.Unit(weights=(1, 1, 1), threshold=2)
print(majority(1, 0, 1), majority(0, 0, 1))
# %% [markdown] en
# **Exercise 3.** "One or the other, but not both" (XOR) is no single unit: no straight line has (0, 1) and (1, 0) on
# one side, and (0, 0) and (1, 1) on the other. Write it as a formula. How many units does it take?
# %% [markdown] es
# **Ejercicio 3.** «Uno u otro, pero no ambos» (XOR) no cabe en una unidad: ninguna recta deja (0, 1) y (1, 0) a un
# lado y (0, 0) y (1, 1) al otro. Escríbelo como fórmula. ¿Cuántas unidades hacen falta?
# %%
xor = classic.formula("(a or b) and not (a and b)")
print([xor(a, b) for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]], len(xor.nodes))
# %% [markdown] en
# Four units: OR, AND, NOT and a last AND. With a weight of -1 for the inner AND, the NOT is not needed.
# %% [markdown] es
# Cuatro unidades: OR, AND, NOT y un último AND. Con un peso de -1 para el AND interior, sobra el NOT.
