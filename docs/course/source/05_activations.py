"""Source of the chapter on activations; see ../../course.py."""

# %% [markdown] en
# # 5. Activations and the vanishing gradient
#
# Without an activation, many layers are no better than one, as exercise 2 of [chapter 4](04_hidden_layers.md) showed.
# Which one to choose? What matters is its **derivative**, because the gradient is multiplied by it in every layer.
#
# | activation | formula | largest derivative | use |
# |---|---|---|---|
# | step | $1$ if $z \ge 0$, else $0$ | 0 | threshold units: nothing to descend on |
# | sigmoid | $1 / (1 + e^{-z})$ | 1/4 | a probability at the end |
# | tanh | $(e^z - e^{-z}) / (e^z + e^{-z})$ | 1 | small networks, recurrent layers |
# | relu | $\max(0, z)$ | 1 | hidden layers, the usual choice |
# | leaky relu | $\max(0.2 z, z)$ | 1 | as relu, but no unit dies |
# | gelu | $z \, \Phi(z)$ | 1.13 | transformers |
# | softmax | $e^{z_k} / \sum_j e^{z_j}$ | 1/4 | one of several classes, at the end |
# %% [markdown] es
# # 5. Activaciones y el gradiente que se desvanece
#
# Sin activación, muchas capas no son mejores que una, como mostró el ejercicio 2 del [capítulo
# 4](04_capas_ocultas.md). ¿Cuál elegir? Lo que cuenta es su **derivada**, porque el gradiente se multiplica por ella
# en cada capa.
#
# | activación | fórmula | mayor derivada | uso |
# |---|---|---|---|
# | step | $1$ si $z \ge 0$, si no $0$ | 0 | unidades de umbral: no hay pendiente que bajar |
# | sigmoid | $1 / (1 + e^{-z})$ | 1/4 | una probabilidad, al final |
# | tanh | $(e^z - e^{-z}) / (e^z + e^{-z})$ | 1 | redes pequeñas, capas recurrentes |
# | relu | $\max(0, z)$ | 1 | capas ocultas, la elección habitual |
# | leaky relu | $\max(0.2 z, z)$ | 1 | como relu, pero ninguna unidad muere |
# | gelu | $z \, \Phi(z)$ | 1,13 | transformers |
# | softmax | $e^{z_k} / \sum_j e^{z_j}$ | 1/4 | una de varias clases, al final |
# %%
import jax
import jax.numpy as jnp
import numpy as np

import fnn

z = jnp.linspace(-4, 4, 801)
for name in ("sigmoid", "tanh", "relu", "leaky_relu", "gelu"):
    function = getattr(fnn.activations, name)
    slopes = jax.vmap(jax.grad(function))(z)
    print(f"{name:10} {slopes.min():6.2f} {slopes.max():6.2f}")
# %% [markdown] en
# `fnn.plot.activations()` draws all of them with their derivatives; see the [gallery](../gallery.md#all-activations).
#
# ## A deep network that does not learn
#
# The chain rule multiplies one derivative for each layer. With $k$ sigmoid layers, the first one receives at most
#
# $$\left(\tfrac14\right)^{k} \qquad \text{of the gradient, which for } k = 8 \text{ is about } 0.000015$$
#
# times the weights on the way. The gradient **vanishes**: the last layers learn, the first ones hardly move. Here is
# its norm in each layer of a network with eight hidden layers, before any training:
# %% [markdown] es
# `fnn.plot.activations()` las dibuja todas con sus derivadas; míralas en la
# [galería](../../gallery.md#all-activations) (en inglés).
#
# ## Una red profunda que no aprende
#
# La regla de la cadena multiplica una derivada por cada capa. Con $k$ capas de sigmoides, a la primera le llega como
# mucho
#
# $$\left(\tfrac14\right)^{k} \qquad \text{del gradiente, que para } k = 8 \text{ es cerca de } 0.000015$$
#
# por los pesos que encuentra en el camino. El gradiente **se desvanece**: las últimas capas aprenden y las primeras
# apenas se mueven. Esta es su norma en cada capa de una red con ocho capas ocultas, antes de entrenar:
# %%
rings = fnn.data.circles(jax.random.key(0), 300, noise=0.05)
target = np.asarray(rings.y, "float32")[:, None]


def deep(activation, initializer="glorot_uniform"):
    layers = [
        fnn.Dense(16, activation, kernel_initializer=initializer, name=f"dense_{i}")
        for i in range(1, 9)
    ]
    return fnn.Task(
        fnn.Sequential(*layers, fnn.Dense(1, name="output")),
        "binary_crossentropy",
        fnn.adam(0.003),
        metrics=("accuracy",),
    )


def gradient_norms(task):
    ts = fnn.init(task, jax.random.key(0), rings.x)

    def loss(params):
        return task.loss(task.model.apply(params, {}, rings.x)[0], target).mean()

    gradient = jax.jit(jax.grad(loss))(ts.params)
    return {name: jnp.linalg.norm(leaf["kernel"]) for name, leaf in gradient.items()}


norms = {name: gradient_norms(deep(name)) for name in ("sigmoid", "tanh", "relu")}
ax = fnn.plot.layer_statistics(norms, ylabel="«gradient norm|norma del gradiente»")
_ = ax.set_xlabel("«layer, from input to output|capa, de la entrada a la salida»")
# %% [markdown] en
# ![The gradient of the sigmoid network falls by orders of magnitude toward the first layer](05_activations.png)
#
# The scale is logarithmic. In the sigmoid network, the first layer's gradient is hundreds of thousands of times
# smaller than the last one's. With tanh and relu, all layers get a similar share. The same training shows what that
# means:
# %% [markdown] es
# ![El gradiente de la red con sigmoides cae varios órdenes de magnitud hacia la primera capa](05_activaciones.png)
#
# La escala es logarítmica. En la red con sigmoides, el gradiente de la primera capa es cientos de miles de veces menor
# que el de la última. Con tanh y relu, a todas las capas les toca una parte parecida. El mismo entrenamiento muestra
# lo que eso significa:
# %%
print(norms["sigmoid"]["output"] / norms["sigmoid"]["dense_1"] > 100_000)
for name in ("sigmoid", "relu"):
    task = deep(name)
    ts = fnn.init(task, jax.random.key(0), rings.x)
    ts, history = fnn.fit(task, ts, (rings.x, rings.y), epochs=20, verbose=0)
    learns = history["accuracy"][-1] > 0.95
    print(name, "«learns|aprende»" if learns else "«does not learn|no aprende»")
# %% [markdown] en
# Three remedies are in use together: activations whose derivative is near 1, **initial weights** whose spread keeps
# the size of signals and gradients (`glorot` for tanh, `he` for relu), and shortcuts around layers (`fnn.Residual`).
#
# The opposite also happens: with large weights, the product of derivatives grows with each layer, and the gradient
# **explodes**. `fnn.clip_by_global_norm` limits it.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson sigmoid-relu` shows the gradient of
# each layer while the network learns, or does not.
#
# ## Exercises
# %% [markdown] es
# Hay tres remedios, que se usan juntos: activaciones con derivada cercana a 1, **pesos iniciales** cuya dispersión
# conserve el tamaño de las señales y de los gradientes (`glorot` para tanh, `he` para relu) y atajos alrededor de las
# capas (`fnn.Residual`).
#
# También pasa lo contrario: con pesos grandes, el producto de derivadas crece en cada capa y el gradiente **explota**.
# `fnn.clip_by_global_norm` lo limita.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson sigmoid-relu` muestra el
# gradiente de cada capa mientras la red aprende, o no.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Show that $\sigma' = \sigma (1 - \sigma)$, and that it is at most 1/4.
# %% [markdown] es
# **Ejercicio 1.** Demuestra que $\sigma' = \sigma (1 - \sigma)$ y que vale como mucho 1/4.
# %% [markdown] en
# $\sigma' = e^{-z} / (1 + e^{-z})^2 = \sigma \cdot e^{-z} / (1 + e^{-z}) = \sigma (1 - \sigma)$. The product of two
# numbers with sum 1 is largest if both are 1/2, at $z = 0$.
# %% [markdown] es
# $\sigma' = e^{-z} / (1 + e^{-z})^2 = \sigma \cdot e^{-z} / (1 + e^{-z}) = \sigma (1 - \sigma)$. El producto de dos
# números que suman 1 es máximo cuando ambos son 1/2, en $z = 0$.
# %%
sigmoid = fnn.activations.sigmoid(z)
slopes = jax.vmap(jax.grad(fnn.activations.sigmoid))(z)
print(np.allclose(slopes, sigmoid * (1 - sigmoid), atol=1e-6))
# %% [markdown] en
# **Exercise 2.** How does the initializer change the gradients of the relu network? Compare `"glorot_uniform"`,
# `"he_normal"` and a normal one with a spread of 0.05.
# %% [markdown] es
# **Ejercicio 2.** ¿Cómo cambia el inicializador los gradientes de la red con relu? Compara `"glorot_uniform"`,
# `"he_normal"` y uno normal con una dispersión de 0.05.
# %%
small = fnn.initializers.normal(stddev=0.05)
for name, initializer in (("he", "he_normal"), ("0.05", small)):
    found = gradient_norms(deep("relu", initializer))
    print(f"{name:5} {bool(found['dense_1'] > 1e-3)}")
# %% [markdown] en
# Small weights make even relu's gradient vanish; He's keep it.
# %% [markdown] es
# Con pesos pequeños se desvanece incluso el gradiente de relu; con los de He se conserva.
# %% [markdown] en
# **Exercise 3.** A relu unit whose sum is negative for every example is **dead**: its gradient is 0. How many of 100
# random units are dead if their bias is 0, and if it is -5?
# %% [markdown] es
# **Ejercicio 3.** Una unidad relu con suma negativa en todos los ejemplos está **muerta**: su gradiente es 0. De 100
# unidades al azar, ¿cuántas están muertas si su sesgo es 0, y cuántas si es -5?
# %%
params = fnn.dense_init(jax.random.key(0), 2, 100)
for bias in (0.0, -5.0):
    sums = fnn.dense(params | {"bias": jnp.full(100, bias)}, rings.x)
    dead = int((sums < 0).all(axis=0).sum())
    print(bias, dead == 0, dead > 50)
