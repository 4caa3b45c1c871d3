"""Source of the chapter on gradient descent; see ../../course.py."""

# %% [markdown] en
# # 3. Gradient descent
#
# The perceptron only knows right and wrong. Most tasks need a finer measure: *how* wrong? A **loss** gives each
# setting of the weights a number, and learning means making it smaller. Everything in the rest of this course rests on
# this idea.
#
# ## A line through points
#
# The points below lie near a line. A neuron without activation, $\hat y = w x + b$, is a line too. Its loss is the
# mean squared error:
#
# $$L(w, b) = \frac{1}{n} \sum_{i=1}^{n} \bigl(w x_i + b - y_i\bigr)^2$$
# %% [markdown] es
# # 3. Descenso de gradiente
#
# El perceptrón solo distingue entre bien y mal. Casi todas las tareas piden una medida más fina: ¿*cuánto* falta? Una
# **función de pérdida** asigna un número a cada elección de los pesos, y aprender es hacerlo más pequeño. Todo lo que
# sigue en este curso se apoya en esa idea.
#
# ## Una recta entre puntos
#
# Los puntos de abajo están cerca de una recta. Una neurona sin activación, $\hat y = w x + b$, también es una recta.
# Su pérdida es el error cuadrático medio:
#
# $$L(w, b) = \frac{1}{n} \sum_{i=1}^{n} \bigl(w x_i + b - y_i\bigr)^2$$
# %%
import jax
import jax.numpy as jnp
import numpy as np

import fnn

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (50, 1)).astype("float32")
y = (2 * x + 1 + rng.normal(0, 0.1, x.shape)).astype("float32")


def loss(weights):
    return jnp.mean((weights[0] * x + weights[1] - y) ** 2)


print(f"{loss(jnp.array([0.0, 0.0])):.2f} {loss(jnp.array([2.0, 1.0])):.2f}")


# %% [markdown] en
# The **gradient** $\nabla L$ collects the slopes of the loss in the direction of each weight. It points uphill, so a
# small step against it makes the loss smaller. The **learning rate** $\eta$ sets how far to step:
#
# $$w \leftarrow w - \eta \frac{\partial L}{\partial w}, \quad b \leftarrow b - \eta \frac{\partial L}{\partial b}$$
#
# `jax.grad` turns any function into the function of its gradient:
# %% [markdown] es
# El **gradiente** $\nabla L$ reúne las pendientes de la pérdida en la dirección de cada peso. Apunta cuesta arriba,
# así que un paso pequeño en sentido contrario reduce la pérdida. La **tasa de aprendizaje** $\eta$ (*learning rate*)
# dice cómo de largo es el paso:
#
# $$w \leftarrow w - \eta \frac{\partial L}{\partial w}, \quad b \leftarrow b - \eta \frac{\partial L}{\partial b}$$
#
# `jax.grad` convierte una función en la función que da su gradiente:
# %%
def descend(rate, steps=30):
    weights = jnp.array([-1.0, -0.5])
    path = [weights]
    for _ in range(steps):
        weights = weights - rate * jax.grad(loss)(weights)
        path.append(weights)
    return jnp.stack(path)


paths = {f"η = {rate}": descend(rate) for rate in (0.02, 0.3, 0.95)}
for name, path in paths.items():
    print(f"{name:8} w = {path[-1, 0]:.2f}, b = {path[-1, 1]:.2f}")
# %%
ax = fnn.plot.optimizer_paths(loss, paths, low=(-1.5, -1.5), high=(4.5, 3.5))
ax.set(xlabel="w", ylabel="b")
_ = ax.get_legend().get_texts()[-1].set_text("«start|inicio»")
# %% [markdown] en
# ![The loss as a bowl over w and b, with three paths: slow, direct, and one that jumps across](03_gradient_descent.png)
#
# The lines of equal loss form a bowl. With a rate of 0.02, thirty steps do not reach the bottom. With 0.3, they do.
# With 0.95, each step overshoots and the path jumps from side to side. A little more, and the loss grows forever.
#
# ## The same with fnn
#
# A `Dense(1)` layer is the neuron, `"mse"` the loss, `sgd` the rule. Instead of all points, each step may use a small
# **batch** of them, in random order: *stochastic* gradient descent. One pass over the data is an **epoch**.
# %% [markdown] es
# ![La pérdida como un cuenco sobre w y b, con tres caminos: lento, directo y a saltos](03_descenso_de_gradiente.png)
#
# Las líneas de igual pérdida forman un cuenco. Con una tasa de 0,02, treinta pasos no llegan al fondo. Con 0,3, sí.
# Con 0,95, cada paso se pasa de largo y el camino salta de un lado a otro. Un poco más, y la pérdida crece sin fin.
#
# ## Lo mismo con fnn
#
# Una capa `Dense(1)` es la neurona, `"mse"` la pérdida y `sgd` la regla. En lugar de todos los puntos, cada paso puede
# usar un **lote** pequeño de ellos (*batch*), en orden aleatorio: es el descenso de gradiente *estocástico*. Una
# pasada por todos los datos es una **época**.
# %%
task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
ts = fnn.init(task, jax.random.key(0), x)
ts, history = fnn.fit(task, ts, (x, y), epochs=30, batch_size=10, verbose=0)
w, b = ts.params["kernel"].item(), ts.params["bias"].item()
exact = np.linalg.lstsq(np.column_stack([x, np.ones(50)]), y, rcond=None)[0].ravel()
print(f"fnn: {w:.1f}, {b:.1f}   «exact|exacto»: {exact[0]:.1f}, {exact[1]:.1f}")
# %% [markdown] en
# For a line, the best weights have a formula. Gradient descent finds the same ones, and it also works where there is
# no formula.
#
# ## Yes or no: logistic regression
#
# For two classes, put a sigmoid after the sum and read the output as a probability $p$. The loss is the
# **cross-entropy**, which is large if a true answer got a low probability:
#
# $$L = -\frac{1}{n} \sum_i \Bigl( y_i \ln p_i + (1 - y_i) \ln (1 - p_i) \Bigr)$$
#
# In fnn the loss applies the sigmoid itself, so the model ends in `Dense(1)` and its output is a **logit**: above 0
# means yes. Can the petals tell *versicolor* from *virginica*?
# %% [markdown] es
# Para una recta, los mejores pesos tienen fórmula. El descenso de gradiente encuentra los mismos, y sirve también
# donde no hay fórmula.
#
# ## Sí o no: regresión logística
#
# Con dos clases, se pone una sigmoide tras la suma y la salida se lee como una probabilidad $p$. La pérdida es la
# **entropía cruzada**, que es grande si una respuesta cierta recibió una probabilidad baja:
#
# $$L = -\frac{1}{n} \sum_i \Bigl( y_i \ln p_i + (1 - y_i) \ln (1 - p_i) \Bigr)$$
#
# En fnn la pérdida aplica ella misma la sigmoide, así que el modelo termina en `Dense(1)` y su salida es un **logit**:
# mayor que 0 significa sí. ¿Distinguen los pétalos entre *versicolor* y *virginica*?
# %%
flowers = fnn.data.iris()
two = np.asarray(flowers.y) > 0
petals = np.asarray(flowers.x)[two, 2:]
virginica = (np.asarray(flowers.y)[two] == 2).astype("int32")
petals = fnn.data.standardize(fnn.data.standardize_fit(petals), petals)

task = fnn.Task(fnn.Dense(1), "binary_crossentropy", fnn.sgd(0.5), ("accuracy",))
ts = fnn.init(task, jax.random.key(0), petals)
ts, history = fnn.fit(task, ts, (petals, virginica), epochs=60, verbose=0)
print(f"«accuracy|exactitud»: {history['accuracy'][-1]:.2f}")
# %% [markdown] en
# No line separates these species without errors, so the perceptron would never stop. The loss has a minimum anyway,
# and the result is a good line with probabilities.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson learning-rate`.
#
# ## Exercises
# %% [markdown] es
# Ninguna recta separa estas especies sin errores, así que el perceptrón no terminaría nunca. La pérdida tiene un
# mínimo de todos modos, y el resultado es una buena recta con probabilidades.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson learning-rate`.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Compute $\partial L / \partial b$ for the line by hand and compare it with `jax.grad` at $w = b = 0$.
# %% [markdown] es
# **Ejercicio 1.** Calcula a mano $\partial L / \partial b$ para la recta y compárala con `jax.grad` en $w = b = 0$.
# %% [markdown] en
# $\partial L / \partial b = \frac{2}{n} \sum_i (w x_i + b - y_i)$, which is $-2 \bar y$ at 0.
# %% [markdown] es
# $\partial L / \partial b = \frac{2}{n} \sum_i (w x_i + b - y_i)$, que en 0 vale $-2 \bar y$.
# %%
slope = jax.grad(loss)(jnp.zeros(2))[1]
print(np.allclose(slope, -2 * y.mean(), rtol=1e-5))
# %% [markdown] en
# **Exercise 2.** Above which learning rate does `descend` diverge? Try 0.9, 1.0 and 1.1.
# %% [markdown] es
# **Ejercicio 2.** ¿A partir de qué tasa de aprendizaje diverge `descend`? Prueba 0.9, 1.0 y 1.1.
# %%
for rate in (0.9, 1.0, 1.1):
    print(rate, bool(loss(descend(rate)[-1]) < loss(descend(rate)[0])))
# %% [markdown] en
# A step diverges along a direction of curvature $c$ if the rate is above $2 / c$. The largest curvature is just above
# 2, so the limit is just below 1. At 1.0 the steps already grow, but too slowly for thirty of them to show it.
# %% [markdown] es
# Los pasos divergen en una dirección de curvatura $c$ si la tasa supera $2 / c$. La mayor curvatura pasa apenas de 2,
# así que el límite está apenas por debajo de 1. Con 1.0 los pasos ya crecen, pero tan despacio que en treinta no se
# nota.
# %% [markdown] en
# **Exercise 3.** One outlier moves the line a lot, because its error is squared. Give the point with the largest $x$
# the value 30 and compare the slope from `"mse"` with the one from `fnn.losses.huber`, whose loss grows linearly for
# large errors.
# %% [markdown] es
# **Ejercicio 3.** Un valor atípico mueve mucho la recta, porque su error se eleva al cuadrado. Da al punto con la mayor
# $x$ el valor 30 y compara la pendiente con `"mse"` y con `fnn.losses.huber`, que crece de forma lineal con los errores
# grandes.
# %%
y_out = y.copy()
y_out[np.argmax(x)] = 30.0
for name in ("mse", "huber"):
    task = fnn.Task(fnn.Dense(1), name, fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), x)
    ts, _ = fnn.fit(task, ts, (x, y_out), epochs=200, batch_size=50, verbose=0)
    print(name, bool(abs(ts.params["kernel"].item() - 2) < 0.3))
