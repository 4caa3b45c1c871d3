"""Source of the chapter on the perceptron; see ../../course.py."""

# %% [markdown] en
# # 2. A neuron that learns
#
# In [chapter 1](01_neuron.md) we chose the weights. In 1958, Frank Rosenblatt found a rule by which a threshold unit
# finds them from examples: the **perceptron**. It looks at one example after another and computes its answer $y$. If
# the target $t$ is the same, nothing happens. If not, the example is added to the weights or subtracted from them:
#
# $$w \leftarrow w + (t - y)\,x, \qquad b \leftarrow b + (t - y)$$
#
# Why does this help? If the unit should have fired but did not, $t - y = 1$, and the weighted sum for this example
# grows by $x \cdot x + 1$. If it fired without reason, the sum shrinks by as much.
#
# ## The rule, in ten lines
#
# Is an iris flower an *Iris setosa*? The length and width of a petal have to suffice. The columns of `rows` are these
# two measurements and a constant 1, whose weight is the bias. A sum of exactly 0 counts as an error.
# %% [markdown] es
# # 2. Una neurona que aprende
#
# En el [capítulo 1](01_neurona.md) elegimos los pesos nosotros. En 1958, Frank Rosenblatt encontró una regla con la
# que una unidad de umbral los halla a partir de ejemplos: el **perceptrón**. Mira un ejemplo tras otro y calcula su
# respuesta $y$, 0 o 1. Si coincide con el objetivo $t$, no pasa nada. Si no, el ejemplo se suma a los pesos o se resta
# de ellos:
#
# $$w \leftarrow w + (t - y)\,x, \qquad b \leftarrow b + (t - y)$$
#
# ¿Por qué sirve? Si la unidad tenía que activarse y no lo hizo, $t - y = 1$, y la suma ponderada de este ejemplo crece
# en $x \cdot x + 1$. Si se activó sin motivo, la suma baja otro tanto.
#
# ## La regla, en diez líneas
#
# ¿Es una flor de lirio una *Iris setosa*? Tienen que bastar el largo y el ancho de un pétalo. Las columnas de `rows`
# son esas dos medidas y un 1 constante, cuyo peso es el sesgo. Una suma de 0 exacto cuenta como error.
# %%
import numpy as np

import fnn
from fnn import classic

flowers = fnn.data.iris()
petals = np.asarray(flowers.x[:, 2:])
setosa = np.asarray(flowers.y == 0).astype("int32")

rows = np.column_stack([petals, np.ones(len(petals))])
weights = np.zeros(3)
for epoch in range(1, 10):
    errors = 0
    for row, target in zip(rows, setosa):
        # «t - y, where y is wrong|t - y, donde y está mal»
        direction = 1 if target else -1
        if direction * (row @ weights) <= 0:
            weights += direction * row
            errors += 1
    print(f"«epoch|época» {epoch}, «errors|errores»: {errors}")
    if errors == 0:
        break
# %% [markdown] en
# After a pass without errors, no later one changes anything: the rule stops. Rosenblatt proved that it always gets
# there, after finitely many corrections, *if* a straight line separates the classes.
#
# `classic.perceptron` is the same rule as one compiled program. It keeps the errors of each epoch:
# %% [markdown] es
# Tras una pasada sin errores, las siguientes ya no cambian nada: la regla termina. Rosenblatt demostró que siempre lo
# consigue, con un número finito de correcciones, *si* una recta separa las clases.
#
# `classic.perceptron` es la misma regla en un programa compilado. Guarda los errores de cada época:
# %%
found = classic.perceptron(petals, setosa)
print(found.errors.tolist(), bool(found.converged))
print(found.predict(np.array([[2.0, 0.5], [3.0, 1.0]])))

names = ("«others|otras»", "setosa")
ax = fnn.plot.decision_boundary(found.predict, petals, setosa, names=names)
_ = ax.set(
    xlabel="«petal length, cm|largo del pétalo, cm»",
    ylabel="«petal width, cm|ancho del pétalo, cm»",
)
# %% [markdown] en
# ![A straight line separates the short petals of setosa from those of the other two species](02_perceptron.png)
#
# The rule is content with *any* line that separates the training rows; it does not look for the best one.
#
# ## What a single unit cannot do
#
# XOR is 1 if exactly one of two inputs is 1. Suppose one unit could compute it, with weights $w_1$, $w_2$ and bias
# $b$:
#
# $$b < 0, \qquad w_1 + b \ge 0, \qquad w_2 + b \ge 0, \qquad w_1 + w_2 + b < 0$$
#
# Adding the two in the middle gives $w_1 + w_2 + 2b \ge 0$. Adding the first to the last gives $w_1 + w_2 + 2b < 0$.
# Both cannot hold, so no such unit exists. The rule does not know that: it goes in circles until its epochs run out.
# %% [markdown] es
# ![Una recta separa los pétalos cortos de setosa de los de las otras dos especies](02_perceptron.png)
#
# A la regla le vale *cualquier* recta que separe las filas de entrenamiento; no busca la mejor.
#
# ## Lo que una sola unidad no puede hacer
#
# XOR vale 1 si exactamente una de las dos entradas es 1. Supón que una unidad pudiera calcularlo, con pesos $w_1$,
# $w_2$ y sesgo $b$:
#
# $$b < 0, \qquad w_1 + b \ge 0, \qquad w_2 + b \ge 0, \qquad w_1 + w_2 + b < 0$$
#
# Al sumar las dos del medio queda $w_1 + w_2 + 2b \ge 0$. Al sumar la primera y la última, $w_1 + w_2 + 2b < 0$. Las
# dos cosas a la vez son imposibles, así que tal unidad no existe. La regla no lo sabe: da vueltas hasta que se le
# acaban las épocas.
# %%
corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
targets = np.array([0, 1, 1, 0])
lost = classic.perceptron(corners, targets, epochs=12)  # «warns|avisa»
# %%
print(lost.errors.tolist(), bool(lost.converged))
print("AND:", classic.separable(corners, [0, 0, 0, 1]))
print("XOR:", classic.separable(corners, targets))
# %% [markdown] en
# `separable` decides beforehand whether a line exists. Marvin Minsky and Seymour Papert's book *Perceptrons* (1969)
# made this limit famous, and interest in neural networks faded for more than a decade. A second layer removes it:
# %% [markdown] es
# `separable` decide de antemano si existe una recta. El libro *Perceptrons* (1969), de Marvin Minsky y Seymour Papert,
# hizo famoso este límite, y el interés por las redes neuronales se apagó durante más de diez años. Una segunda capa lo
# elimina:
# %%
network, hand_made = classic.xor_network()
print(network.apply(hand_made, {}, corners)[0].ravel())
# %% [markdown] en
# But Rosenblatt's rule only trains the last layer: nobody knew which answer of an inner unit was wrong. The solution
# takes two more chapters.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson xor`, without a hidden layer first.
#
# ## Exercises
# %% [markdown] es
# Pero la regla de Rosenblatt solo entrena la última capa: nadie sabía qué respuesta de una unidad interior estaba mal.
# La solución llega dentro de dos capítulos.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson xor`, primero sin capa oculta.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Is *versicolor* (`flowers.y == 1`) separable from the other two species by its petals? And with all
# four measurements?
# %% [markdown] es
# **Ejercicio 1.** ¿Se puede separar *versicolor* (`flowers.y == 1`) de las otras dos especies por sus pétalos? ¿Y con
# las cuatro medidas?
# %%
versicolor = np.asarray(flowers.y == 1).astype("int32")
print(classic.separable(petals, versicolor), classic.separable(flowers.x, versicolor))
# %% [markdown] en
# Neither: it lies between the other two.
# %% [markdown] es
# Ni lo uno ni lo otro: está entre las otras dos.
# %% [markdown] en
# **Exercise 2.** With weights that start at 0, does the learning rate matter for a perceptron? Compare 1 and 10.
# %% [markdown] es
# **Ejercicio 2.** Si los pesos empiezan en 0, ¿importa la tasa de aprendizaje de un perceptrón? Compara 1 y 10.
# %%
fast = classic.perceptron(petals, setosa, learning_rate=10.0)
print(fast.errors.tolist() == found.errors.tolist())
print(np.allclose(fast.params["kernel"], 10 * found.params["kernel"]))
# %% [markdown] en
# No. All weights are ten times as large, so the line and every answer are the same.
# %% [markdown] es
# No. Todos los pesos son diez veces mayores, así que la recta y todas las respuestas son las mismas.
# %% [markdown] en
# **Exercise 3.** Add the product $x_1 x_2$ as a third input. Can one unit compute XOR now?
# %% [markdown] es
# **Ejercicio 3.** Añade el producto $x_1 x_2$ como tercera entrada. ¿Puede ahora una unidad calcular XOR?
# %%
more = np.column_stack([corners, corners[:, 0] * corners[:, 1]])
learned = classic.perceptron(more, targets)
print(bool(learned.converged), learned.predict(more))
# %% [markdown] en
# Yes: a plane in three dimensions separates what no line in two could. A hidden layer finds such new inputs by
# learning.
# %% [markdown] es
# Sí: en tres dimensiones, un plano separa lo que en dos no podía ninguna recta. Una capa oculta encuentra entradas
# nuevas como esta aprendiendo.
