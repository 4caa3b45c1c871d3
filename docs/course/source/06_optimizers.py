"""Source of the chapter on optimizers; see ../../course.py."""

# %% [markdown] en
# # 6. Optimizers, from SGD to Nadam
#
# Gradient descent has one learning rate for all weights and forgets each gradient after its step. In a narrow valley
# of the loss, it bounces from wall to wall and hardly moves along the floor. The optimizers of this chapter remember.
#
# **Momentum** keeps a decaying sum of the steps, like a rolling ball. Steps across the valley cancel; those along it
# add up:
#
# $$v \leftarrow \beta v - \eta \, g, \qquad w \leftarrow w + v$$
#
# **RMSprop** keeps the average square of each weight's gradient and divides by its root. Each weight gets a learning
# rate of its own, large where gradients are small:
#
# $$s \leftarrow \rho s + (1 - \rho) \, g^2, \qquad w \leftarrow w - \eta \, \frac{g}{\sqrt{s} + \epsilon}$$
#
# **Adam** does both. Since $m$ and $s$ start at 0, it corrects them at step $t$:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad s \leftarrow \beta_2 s + (1 - \beta_2) g^2$$
#
# $$w \leftarrow w - \eta \, \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}$$
#
# | optimizer | in fnn | idea |
# |---|---|---|
# | SGD | `sgd(0.01)` | the gradient alone |
# | Momentum | `sgd(0.01, momentum=0.9)` | a decaying sum of steps |
# | Nesterov | `sgd(0.01, momentum=0.9, nesterov=True)` | the gradient where momentum leads |
# | Adagrad | `adagrad(0.01)` | divides by all past squares, so it slows down |
# | RMSprop | `rmsprop(0.001)` | divides by recent squares |
# | Adadelta | `adadelta(1.0)` | RMSprop with units that match |
# | Adam | `adam(0.001)` | momentum and RMSprop |
# | Adamax | `adamax(0.001)` | Adam with the largest recent gradient |
# | Nadam | `nadam(0.001)` | Adam with Nesterov's step |
#
# ## A rule in two lines
#
# An optimizer in fnn is a pair of pure functions: `init` makes the memory, `update` turns gradients into steps.
# Momentum by hand, next to fnn's, on a valley that is 25 times steeper across than along:
# %% [markdown] es
# # 6. Optimizadores, de SGD a Nadam
#
# El descenso de gradiente tiene una sola tasa de aprendizaje para todos los pesos y olvida cada gradiente tras dar el
# paso. En un valle estrecho de la pérdida rebota de una pared a otra y apenas avanza por el fondo. Los optimizadores
# de este capítulo tienen memoria.
#
# **Momentum** guarda una suma decreciente de los pasos, como una bola que rueda. Los pasos de través se cancelan; los
# que van a lo largo del valle se suman:
#
# $$v \leftarrow \beta v - \eta \, g, \qquad w \leftarrow w + v$$
#
# **RMSprop** guarda la media del cuadrado del gradiente de cada peso y divide por su raíz. Cada peso tiene así su
# propia tasa de aprendizaje, grande donde los gradientes son pequeños:
#
# $$s \leftarrow \rho s + (1 - \rho) \, g^2, \qquad w \leftarrow w - \eta \, \frac{g}{\sqrt{s} + \epsilon}$$
#
# **Adam** hace las dos cosas. Como $m$ y $s$ empiezan en 0, las corrige en el paso $t$:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad s \leftarrow \beta_2 s + (1 - \beta_2) g^2$$
#
# $$w \leftarrow w - \eta \, \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}$$
#
# | optimizador | en fnn | idea |
# |---|---|---|
# | SGD | `sgd(0.01)` | solo el gradiente |
# | Momentum | `sgd(0.01, momentum=0.9)` | una suma decreciente de los pasos |
# | Nesterov | `sgd(0.01, momentum=0.9, nesterov=True)` | el gradiente allí adonde lleva la inercia |
# | Adagrad | `adagrad(0.01)` | divide por todos los cuadrados pasados, así que se frena |
# | RMSprop | `rmsprop(0.001)` | divide por los cuadrados recientes |
# | Adadelta | `adadelta(1.0)` | RMSprop con unidades coherentes |
# | Adam | `adam(0.001)` | momentum y RMSprop |
# | Adamax | `adamax(0.001)` | Adam con el mayor gradiente reciente |
# | Nadam | `nadam(0.001)` | Adam con el paso de Nesterov |
#
# ## Una regla en dos líneas
#
# En fnn, un optimizador es un par de funciones puras: `init` crea la memoria y `update` convierte gradientes en pasos.
# Momentum a mano, junto al de fnn, en un valle 25 veces más empinado de través que a lo largo:
# %%
import jax
import jax.numpy as jnp
import numpy as np

import fnn


def valley(w):
    return 0.5 * (w[0] ** 2 + 25 * w[1] ** 2)


start = jnp.array([-4.0, 1.5])
slope = jax.jit(jax.grad(valley))

w, v = start, jnp.zeros(2)
for _ in range(20):
    v = 0.8 * v - 0.02 * slope(w)
    w = w + v

optimizer = fnn.sgd(0.02, momentum=0.8)
same, memory = start, optimizer.init(start)
for _ in range(20):
    updates, memory = optimizer.update(slope(same), memory, same)
    same = fnn.apply_updates(same, updates)
print(np.allclose(w, same, atol=1e-6))


# %% [markdown] en
# ## Down the valley
# %% [markdown] es
# ## Valle abajo
# %%
def descend(optimizer, steps=40):
    def step(carry, _):
        w, memory = carry
        updates, memory = optimizer.update(jax.grad(valley)(w), memory, w)
        return (fnn.apply_updates(w, updates), memory), w

    return jax.lax.scan(step, (start, optimizer.init(start)), length=steps + 1)[1]


paths = {
    "SGD": descend(fnn.sgd(0.06)),
    "Momentum": descend(fnn.sgd(0.02, momentum=0.8)),
    "RMSprop": descend(fnn.rmsprop(0.1)),
    "Adam": descend(fnn.adam(0.3)),
    "Nadam": descend(fnn.nadam(0.3)),
}
for name, path in paths.items():
    losses = [f"{valley(path[step]):5.1f}" for step in (0, 10, 40)]
    print(f"{name:9}", *losses)
ax = fnn.plot.optimizer_paths(
    valley, paths, low=(-4.5, -2), high=(1.5, 2), minimum=(0, 0)
)
legend = ax.get_legend().get_texts()
for label, word in zip(legend[-2:], ("«start|inicio»", "«minimum|mínimo»")):
    label.set_text(word)
# %% [markdown] en
# ![Five paths into a narrow valley: SGD zigzags, momentum swings, the adaptive ones turn early](06_optimizers.png)
#
# The columns are the loss at the start, after 10 steps and after 40. There is no best optimizer for everything: Adam
# at 0.001 is a good first choice, and SGD with momentum and a schedule often ends slightly lower on images.
#
# ## Schedules
#
# Large steps at first, small ones at the end: a **schedule** is a learning rate that depends on the step. Any
# optimizer accepts one in place of a number. Warm-up avoids large steps while the memory is still empty:
# %% [markdown] es
# ![Cinco caminos en un valle: SGD va en zigzag, momentum oscila, los adaptativos giran pronto](06_optimizadores.png)
#
# Las columnas son la pérdida al principio, tras 10 pasos y tras 40. No hay un optimizador mejor para todo: Adam con
# 0,001 es una buena primera elección, y SGD con momentum y una tasa que baja suele acabar un poco mejor con imágenes.
#
# ## Tasas que cambian
#
# Pasos largos al principio y cortos al final: un *schedule* es una tasa de aprendizaje que depende del paso. Todo
# optimizador lo acepta en lugar de un número. El calentamiento (*warm-up*) evita pasos largos cuando la memoria aún
# está vacía:
# %%
cosine = fnn.schedules.cosine_decay(0.1, decay_steps=100)
warm = fnn.schedules.warmup(cosine, warmup_steps=20)
print([round(float(warm(step)), 3) for step in (0, 10, 20, 70, 120)])
optimizer = fnn.sgd(warm, momentum=0.9)
# %% [markdown] en
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson learning-rate`, with another
# optimizer and its rate changed while it runs.
#
# ## Exercises
# %% [markdown] es
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson learning-rate`, con otro
# optimizador y cambiando su tasa en marcha.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** How long is Adam's first step, for a gradient of 0.001 and for one of 1000? Work it out, then check.
# %% [markdown] es
# **Ejercicio 1.** ¿Cuánto mide el primer paso de Adam con un gradiente de 0,001 y con uno de 1000? Calcúlalo y
# comprueba.
# %% [markdown] en
# At $t = 1$, the corrected $m$ is $g$ and the corrected $s$ is $g^2$, so the step is $\eta \, g / |g|$: the learning
# rate itself, whatever the gradient.
# %% [markdown] es
# En $t = 1$, la $m$ corregida es $g$ y la $s$ corregida es $g^2$, así que el paso es $\eta \, g / |g|$: la propia tasa
# de aprendizaje, sea cual sea el gradiente.
# %%
adam = fnn.adam(0.01)
weights = jnp.zeros(2)
updates, _ = adam.update(jnp.array([0.001, 1000.0]), adam.init(weights), weights)
print(np.round(updates, 4))
# %% [markdown] en
# **Exercise 2.** Plain SGD diverges on the valley if its rate is above $2 / 25$. Why? Check 0.07 and 0.09.
# %% [markdown] es
# **Ejercicio 2.** En el valle, SGD diverge si su tasa supera $2 / 25$. ¿Por qué? Comprueba 0.07 y 0.09.
# %% [markdown] en
# A step multiplies $w_2$ by $1 - 25 \eta$. Its size shrinks only if that is between -1 and 1.
# %% [markdown] es
# Un paso multiplica $w_2$ por $1 - 25 \eta$. Su tamaño solo disminuye si ese factor está entre -1 y 1.
# %%
for rate in (0.07, 0.09):
    print(rate, bool(valley(descend(fnn.sgd(rate))[-1]) < valley(start)))
# %% [markdown] en
# **Exercise 3.** Hyper-parameters are numbers in the optimizer's state. Halve the learning rate of `memory` from above
# without building a new optimizer.
# %% [markdown] es
# **Ejercicio 3.** Los hiperparámetros son números en el estado del optimizador. Reduce a la mitad la tasa de `memory`,
# de más arriba, sin crear otro optimizador.
# %%
rate = fnn.get_hyper(memory)["learning_rate"]
memory = fnn.set_hyper(memory, learning_rate=rate / 2)
print(round(float(fnn.get_hyper(memory)["learning_rate"]), 3))
