"""Source of the chapter on overfitting; see ../../course.py."""

# %% [markdown] en
# # 7. Overfitting
#
# A network with enough weights can learn its training rows by heart, noise included. That is not the aim: it should be
# right about rows it has never seen. The difference between the two is **overfitting**, and the only way to notice it
# is to hold rows back:
#
# - the **training** rows change the weights;
# - the **validation** rows guide choices: when to stop, which rate, how many layers;
# - the **test** rows are looked at once, at the end, because many choices make the validation score too good as well.
#
# ## A network that learns by heart
#
# Forty noisy points, and two layers of 64 units: over 4,000 weights, a hundred for each point.
# %% [markdown] es
# # 7. Sobreajuste
#
# Una red con suficientes pesos puede aprenderse de memoria sus filas de entrenamiento, ruido incluido. No se trata de
# eso: debe acertar con filas que nunca ha visto. La diferencia entre ambas cosas es el **sobreajuste**
# (*overfitting*), y la única forma de notarlo es apartar filas:
#
# - las filas de **entrenamiento** cambian los pesos;
# - las de **validación** guían las decisiones: cuándo parar, qué tasa, cuántas capas;
# - las de **prueba** se miran una sola vez, al final: tras muchas decisiones, la validación también es optimista.
#
# ## Una red que aprende de memoria
#
# Cuarenta puntos con ruido y dos capas de 64 unidades: más de 4000 pesos, cien por cada punto.
# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import fnn

rings = fnn.data.circles(jax.random.key(0), 240, noise=0.35)
x, x_val, y, y_val = fnn.data.train_test_split(rings.x, rings.y, test_size=200, seed=0)


def train(penalty=None, dropout=0.0, callbacks=()):
    layers = []
    for _ in range(2):
        layers += [
            fnn.Dense(64, activation="relu", kernel_regularizer=penalty),
            fnn.Dropout(dropout),
        ]
    model = fnn.Sequential(*layers, fnn.Dense(1))
    task = fnn.Task(model, "binary_crossentropy", fnn.adam(0.01), ("accuracy",))
    ts = fnn.init(task, jax.random.key(0), x)
    ts, history = fnn.run(
        task,
        ts,
        (x, y),
        epochs=300,
        validation_data=(x_val, y_val),
        callbacks=callbacks,
    )
    return task, ts, jax.tree.map(np.asarray, history)


task, ts, plain = train()
for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
    print(f"{name:12} {plain[name][-1]:.2f}")  # «varies|varía»
print(f"«lowest|menor» val_loss: {plain['val_loss'].min():.2f}")
# %% [markdown] en
# All training rows are right, their loss is near 0, and more than a tenth of the validation rows are wrong. The
# validation loss was lowest early on. Since then, every epoch made the network *surer* of its mistakes.
#
# ## Four remedies
#
# **More data** is the best one. If there is no more:
#
# - **L2** adds the squares of the weights to the loss, $L + \lambda \sum w^2$. Large weights, which bend the boundary
#   around single points, must now pay for themselves.
# - **Dropout** sets a random half of the units to 0 in each training step, so that no unit can rely on another one.
# - **Early stopping** keeps the weights of the epoch with the lowest validation loss.
# - A **smaller network** has less memory.
# %% [markdown] es
# Todas las filas de entrenamiento están bien, su pérdida es casi 0, y más de una décima parte de las de validación
# está mal. La pérdida de validación fue mínima muy al principio. Desde entonces, cada época hizo a la red más *segura*
# de sus errores.
#
# ## Cuatro remedios
#
# Lo mejor es tener **más datos**. Si no los hay:
#
# - **L2** suma a la pérdida los cuadrados de los pesos, $L + \lambda \sum w^2$. Los pesos grandes, que
#   doblan la frontera alrededor de puntos sueltos, tienen ahora un precio.
# - ***Dropout*** pone a 0 la mitad de las unidades, al azar, en cada paso de entrenamiento, para que ninguna dependa de
#   otra.
# - La **parada temprana** (*early stopping*) se queda con los pesos de la época con menor pérdida de validación.
# - Una **red más pequeña** tiene menos memoria.
# %%
stop = fnn.early_stopping("val_loss", patience=20)
_, _, l2 = train(penalty=fnn.penalties.l2(0.01))
_, _, dropout = train(dropout=0.5)
_, stopped, early = train(callbacks=(stop,))

print(f"L2:      {l2['val_loss'][-1]:.2f}")  # «varies|varía»
print(f"dropout: {dropout['val_loss'][-1]:.2f}")
best = int(early["epoch"])
print(f"«early|temprana»: {early['val_loss'][best]:.2f}, {best}")
# %%
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
curves = {"«no remedy|sin remedio»": plain, "L2": l2, "dropout": dropout}
for (name, history), style in zip(curves.items(), ("-", "--", "-.")):
    ax.plot(history["val_loss"], style, label=f"«validation|validación», {name}")
ax.plot(plain["loss"], ":k", label="«training|entrenamiento», «no remedy|sin remedio»")
ax.plot(best, plain["val_loss"][best], "ok", label="«early stopping|parada temprana»")
ax.set(xlabel="«epoch|época»", ylabel="«loss|pérdida»", ylim=(0, 2.2))
_ = ax.legend(fontsize=8)
# %% [markdown] en
# ![Without a remedy, the training loss falls to 0 while the validation loss rises](07_overfitting.png)
#
# The curve to know: the training loss falls, the validation loss falls and then rises. Early stopping takes the lowest
# point. L2 keeps the curve low, although it includes the penalty itself; dropout slows its rise.
#
# Try it in [the playground](../playground.md): `python -m fnn.playground --lesson overfitting`.
#
# ## Exercises
# %% [markdown] es
# ![Sin remedio, la pérdida de entrenamiento baja a 0 y la de validación sube](07_sobreajuste.png)
#
# Esta es la curva que hay que reconocer: la pérdida de entrenamiento baja; la de validación baja y después sube. La
# parada temprana toma el punto más bajo. L2 mantiene baja la curva, aunque incluye la propia penalización; *dropout*
# frena la subida.
#
# Pruébalo en [el *playground*](../playground.md): `python -m fnn.playground --lesson overfitting`.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Draw the boundary of the plain network and of the one stopped early, with the training points.
# %% [markdown] es
# **Ejercicio 1.** Dibuja la frontera de la red sin remedio y la de la parada temprana, con los puntos de
# entrenamiento.
# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
names = ("«no remedy|sin remedio»", "«early stopping|parada temprana»")
for ax, state, name in zip(axes, (ts, stopped), names):
    fnn.plot.decision_boundary(
        lambda points, state=state: fnn.predict(task, state, points), x, y, ax=ax
    )
    ax.set_title(name, fontsize=10)
# %% [markdown] en
# ![The plain network bends around single points; the one stopped early is smoother](07_boundaries.png)
# %% [markdown] es
# ![La red sin remedio se dobla alrededor de puntos sueltos; la otra es más suave](07_fronteras.png)
# %% [markdown] en
# **Exercise 2.** In 5-fold **cross-validation**, each row is used for validation once. Estimate the accuracy with it.
# %% [markdown] es
# **Ejercicio 2.** En la **validación cruzada** con 5 partes, cada fila sirve una vez de validación. Estima así la
# exactitud.
# %%
scores = []
for fold in fnn.data.folds(0, len(rings.x), 5, stratify=rings.y):
    train_rows, test_rows = fnn.data.take_fold(fold, rings.x, rings.y)
    small = fnn.Sequential(fnn.Dense(8, activation="tanh"), fnn.Dense(1))
    fold_task = fnn.Task(small, "binary_crossentropy", fnn.adam(0.03), ("accuracy",))
    state = fnn.init(fold_task, jax.random.key(0), train_rows[0])
    state, _ = fnn.run(fold_task, state, train_rows, epochs=60)
    scores.append(fnn.evaluate(fold_task, state, test_rows)["accuracy"])
print(len(scores), f"{np.mean(scores):.2f}")  # «varies|varía»
# %% [markdown] en
# **Exercise 3.** Why does dropout divide the remaining units by the share that is kept? Check with a layer of ones.
# %% [markdown] es
# **Ejercicio 3.** ¿Por qué *dropout* divide las unidades restantes por la parte que se conserva? Compruébalo con un
# array de unos.
# %%
ones = np.ones((1, 10_000), "float32")
out = fnn.dropout(jax.random.key(0), ones, 0.5)
print(np.unique(out), round(float(out.mean()), 1))
# %% [markdown] en
# The mean stays the same, so the next layer receives sums of the same size in training and in prediction, when nothing
# is dropped.
# %% [markdown] es
# La media se conserva, así que la capa siguiente recibe sumas del mismo tamaño al entrenar y al predecir, cuando no se
# desactiva nada.
