"""Source of the chapter on a whole project; see ../../course.py."""

# %% [markdown] en
# # 10. A whole project
#
# From a table to a program that answers: data, a first model, a search for better settings, an ensemble, one look at
# the test rows, a file, and a function that serves. The task: is a tumour benign or malignant? The table ships with
# scikit-learn: 569 patients with 30 measurements of cell nuclei.
#
# ## 1. Data
#
# Set the test rows aside first. `stratify` keeps the share of both classes. Compute the means and deviations for
# standardizing from the training rows only, because in use they are all you have.
# %% [markdown] es
# # 10. Un proyecto completo
#
# De una tabla a un programa que responde: datos, un primer modelo, una búsqueda de mejores ajustes, un conjunto de
# redes, una mirada a las filas de prueba, un archivo y una función que atiende peticiones. La tarea: ¿es un tumor
# benigno o maligno? La tabla viene con scikit-learn: 569 pacientes con 30 medidas de núcleos celulares.
#
# ## 1. Los datos
#
# Lo primero es apartar las filas de prueba. `stratify` conserva la proporción de ambas clases. Las medias y
# desviaciones para estandarizar salen solo de las filas de entrenamiento, porque en la práctica no hay otras.
# %%
import jax
import numpy as np
from sklearn.datasets import load_breast_cancer

import fnn

table = load_breast_cancer()
x, y = table.data.astype("float32"), 1 - table.target  # «1: malignant|1: maligno»
x, x_test, y, y_test = fnn.data.train_test_split(x, y, test_size=0.2, stratify=y)
x, x_val, y, y_val = fnn.data.train_test_split(x, y, test_size=0.25, stratify=y, seed=1)
moments = fnn.data.standardize_fit(x)
x, x_val, x_test = (fnn.data.standardize(moments, part) for part in (x, x_val, x_test))
print(len(x), len(x_val), len(x_test), round(float(y.mean()), 2))
# %% [markdown] en
# ## 2. A first model
#
# Start with the simplest one, as a figure to beat. Logistic regression is a network without hidden layers. What would
# guessing "benign" for everybody reach?
# %% [markdown] es
# ## 2. Un primer modelo
#
# Empieza por el más sencillo, como cifra que mejorar. La regresión logística es una red sin capas ocultas. ¿Y a cuánto
# se llega diciendo siempre «benigno»?
# %%
task = fnn.Task(fnn.Dense(1), "binary_crossentropy", fnn.adam(0.01), ("accuracy", "f1"))
ts = fnn.init(task, jax.random.key(0), x[:1])
ts, history = fnn.fit(task, ts, (x, y), epochs=30, verbose=0)
scores = fnn.evaluate(task, ts, (x_val, y_val))
print(f"{1 - y_val.mean():.2f} {scores['accuracy']:.2f}")  # «varies|varía»


# %% [markdown] en
# ## 3. A sweep
#
# Which width, learning rate and L2 penalty? `fnn.sweep` trains all combinations. Widths change shapes, so each is one
# compiled program; rates, penalties and seeds share it. Several seeds tell skill from luck.
# %% [markdown] es
# ## 3. Una búsqueda
#
# ¿Qué anchura, qué tasa de aprendizaje, qué penalización L2? `fnn.sweep` entrena todas las combinaciones. La anchura
# cambia las formas, así que cada una es un programa compilado; tasas, penalizaciones y semillas lo comparten. Varias
# semillas distinguen el acierto de la suerte.
# %%
def model_of(units):
    return fnn.Sequential(fnn.Dense(units, activation="relu"), fnn.Dense(1))


def task_of(units, rate, l2):
    return fnn.Task(
        model_of(units),
        "binary_crossentropy",
        fnn.adam(rate),
        metrics=("accuracy", "f1"),
        penalty=fnn.penalties.l2(l2),
    )


def trial(units, rate, l2, seed):
    task = task_of(units, rate, l2)
    start = fnn.init(task, jax.random.key(seed), x[:1])
    return fnn.run(task, start, (x, y), epochs=20, validation_data=(x_val, y_val))


space = {
    "units": [8, 32],
    "rate": [1e-4, 1e-3, 1e-2, 1e-1],
    "l2": [0.0, 1e-3, 1e-2],
    "seed": [0, 1],
}
found = fnn.sweep(
    trial, space, structural=("units",), monitor="val_accuracy", verbose=0
)
means = found.averages("seed")
print(len(means), f"{means[0]['val_accuracy']:.2f}")  # «varies|varía»
ax = fnn.plot.sweep_map(found, "rate", "l2")
title = "«mean over widths and seeds|media sobre anchuras y semillas»"
_ = ax.set_title(title, fontsize=10)
# %% [markdown] en
# ![Validation accuracy by learning rate and penalty: low for the smallest rate, high for the others](10_project.png)
#
# Whole regions do well, rather than single points. The smallest rate has not finished learning in 20 epochs. That is
# the use of a map: choose from the middle of a good region, not the luckiest trial.
#
# ## 4. An ensemble, and the test
#
# Five networks from different starts, whose probabilities are averaged. Now all choices have been made, so validation
# rows may join the training rows, and the test rows are looked at, once:
# %% [markdown] es
# ![La exactitud de validación según tasa y penalización: baja con la tasa mínima, alta con las demás](10_proyecto.png)
#
# Van bien regiones enteras, no puntos sueltos. La tasa menor no ha terminado de aprender en 20 épocas. Para eso sirve
# un mapa: para elegir en medio de una región buena, y no la prueba con más suerte.
#
# ## 4. Un conjunto de redes, y la prueba
#
# Cinco redes con comienzos distintos, cuyas probabilidades se promedian. Las decisiones ya están tomadas, así que las
# filas de validación pueden unirse a las de entrenamiento, y las de prueba se miran, una vez:
# %%
best = task_of(32, 1e-2, 1e-2)
everything = np.concatenate([x, x_val]), np.concatenate([y, y_val])
members = fnn.ensemble(
    best, jax.random.key(0), everything, members=5, epochs=20, verbose=0
)
scores = members.evaluate((x_test, y_test))
for name in ("accuracy", "f1"):
    print(f"{name:8} {scores[name]:.2f}")  # «varies|varía»
# %%
p = members.predict(x_test)
malignant = np.asarray(p.mean).ravel()
names = ["«benign|benigno»", "«malignant|maligno»"]
# «Every cell of the table is a decision about a patient.|Cada casilla es una decisión sobre un paciente.»
print(fnn.classification_report(malignant > 0.5, y_test, names=names))  # «varies|varía»
# %% [markdown] en
# Is 0.5 the right threshold? To miss a malignant tumour is worse than to examine a benign one again. A lower threshold
# finds more of them, at the price of more false alarms. That is a decision about people, and no metric makes it for
# you.
#
# ## 5. Save and serve
#
# The file holds the model's construction, its arrays, and what a user needs besides: here the means and deviations.
# Another process can read it without any of the code above:
# %% [markdown] es
# ¿Es 0,5 el umbral adecuado? Pasar por alto un tumor maligno es peor que volver a examinar uno benigno. Un umbral
# menor encuentra más, a cambio de más falsas alarmas. Esa decisión es sobre personas, y ninguna métrica la toma por
# ti.
#
# ## 5. Guardar y poner en servicio
#
# El archivo contiene la construcción del modelo, sus arrays y lo demás que hace falta para usarlo: aquí, las medias y
# desviaciones. Otro proceso puede leerlo sin nada del código anterior:
# %%
ts = fnn.init(best, jax.random.key(0), x[:1])
ts, _ = fnn.run(best, ts, everything, epochs=20)
extra = {"mean": moments.mean.tolist(), "std": moments.std.tolist()}
fnn.save("tumours.safetensors", ts, best, extra=extra)
# %%
loaded, state = fnn.load("tumours.safetensors")
extra = fnn.load_info("tumours.safetensors").extra
scale = fnn.data.Moments(
    *(np.array(extra[name], "float32") for name in ("mean", "std"))
)
answer = fnn.predictor(loaded, state)


def diagnose(measurements):
    logit = answer(fnn.data.standardize(scale, measurements))
    return fnn.activations.sigmoid(logit).ravel()


patients = table.data[:2].astype("float32")
print(diagnose(patients) > 0.5, 1 - table.target[:2])
# %% [markdown] en
# `fnn.predictor` checks its input and answers in well under a millisecond; put it behind any web framework. See
# [predict and serve](../how-to/prediction.md).
#
# This is the end of the course. What now? Train networks of your own: the [notebooks](../notebooks/index.md) use
# larger data, the [how-to pages](../how-to/index.md) answer single questions, and [the playground](../playground.md)
# is there for every idea that needs a picture: `python -m fnn.playground`.
#
# ## Exercises
# %% [markdown] es
# `fnn.predictor` comprueba su entrada y responde en mucho menos de un milisegundo; colócalo detrás de cualquier
# *framework* web. Véase [*predict and serve*](../../how-to/prediction.md) (en inglés).
#
# Aquí termina el curso. ¿Y ahora? Entrena tus propias redes: los [cuadernos](../cuadernos/index.md) usan más datos,
# las [guías prácticas](../../how-to/index.md) (en inglés) responden a preguntas sueltas, y [el
# *playground*](../playground.md) sirve para toda idea que pida una imagen: `python -m fnn.playground`.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** Which threshold finds every malignant tumour among the validation rows? How many false alarms does it
# give there? Use the logistic regression of step 2's task, trained again.
# %% [markdown] es
# **Ejercicio 1.** ¿Qué umbral encuentra todos los tumores malignos de las filas de validación? ¿Cuántas falsas alarmas
# da ahí? Usa la regresión logística del paso 2, entrenada de nuevo.
# %%
simple = fnn.init(task, jax.random.key(0), x[:1])
simple, _ = fnn.fit(task, simple, (x, y), epochs=30, verbose=0)
probability = fnn.activations.sigmoid(fnn.predict(task, simple, x_val)).ravel()
threshold = float(probability[y_val == 1].min())
alarms = int(((probability >= threshold) & (y_val == 0)).sum())
print(0 < threshold < 0.5, 0 < alarms < 30)
# %% [markdown] en
# **Exercise 2.** Which test patients do the five networks disagree about? Look at the five with the largest spread.
# %% [markdown] es
# **Ejercicio 2.** ¿Sobre qué pacientes de prueba discrepan las cinco redes? Mira los cinco con mayor dispersión.
# %%
spread = np.asarray(p.members).reshape(5, -1).std(axis=0)
disputed = np.argsort(spread)[-5:]
print(((malignant[disputed] > 0.05) & (malignant[disputed] < 0.95)).all())
# %% [markdown] en
# Those whose probability is neither near 0 nor near 1. A doctor should look at these patients first.
# %% [markdown] es
# Sobre aquellos cuya probabilidad no está cerca ni de 0 ni de 1. Un médico debería mirarlos primero.
# %% [markdown] en
# **Exercise 3.** What happens if you forget to standardize? Predict, then run the first model on raw measurements.
# %% [markdown] es
# **Ejercicio 3.** ¿Qué pasa si se olvida estandarizar? Haz una predicción y prueba el primer modelo con medidas sin
# tratar.
# %%
raw = table.data.astype("float32")
raw_ts = fnn.init(task, jax.random.key(0), raw[:1])
raw_ts, raw_history = fnn.fit(
    task, raw_ts, (raw, 1 - table.target), epochs=3, verbose=0
)
print(raw_history["loss"][-1] > 10 * history["loss"][2])
# %% [markdown] en
# The areas reach the thousands and the smoothness stays near 0.1: a rate that suits one weight is far too large or too
# small for the other.
# %% [markdown] es
# Las áreas llegan a los miles y la suavidad ronda 0,1: una tasa que va bien a un peso es demasiado grande o
# demasiado pequeña para el otro.
