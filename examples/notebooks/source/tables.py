"""Source of the notebooks on tables; see ../build.py."""

# %% [markdown] en
# # 4. Tables: classification and regression
#
# Most of the world's data comes in tables: one row per case, one column per feature. In this notebook, one network
# predicts whether a parcel will be late (**classification**: the answer is a class), and another predicts the price
# of a house (**regression**: the answer is a number).
# %% [markdown] es
# # 4. Tablas: clasificación y regresión
#
# La mayoría de los datos del mundo son tablas: una fila por caso, una columna por característica. En este cuaderno,
# una red dice si un paquete llegará tarde (**clasificación**: la respuesta es una clase), y otra, cuánto cuesta una
# casa (**regresión**: la respuesta es un número).
# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

import fnn

# «short training runs, for tests|entrenamientos cortos, para pruebas»
QUICK = "FNN_QUICK" in os.environ
# %% [markdown] en
# ## Part 1: will the parcel be late?
#
# 10,999 parcels of a mail-order shop (`ecommerce_shipping.csv` in the folder named by `FNN_DATA`). Class 1 means
# late. Without the file, a table from scikit-learn replaces it: 569 samples of breast tissue, where class 1 is
# benign. The code is the same; your numbers will differ.
#
# A column of words, such as the means of transport, becomes one column of 0s and 1s per word (*one-hot*). The ten
# features of the file thus become 18 columns.
# %% [markdown] es
# ## Parte 1: ¿llegará tarde el paquete?
#
# 10 999 paquetes de una tienda por correo (`ecommerce_shipping.csv`, en la carpeta que indica `FNN_DATA`). La clase 1
# significa «tarde». Si falta el archivo, lo reemplaza una tabla de scikit-learn: 569 muestras de tejido mamario,
# donde la clase 1 es «benigno». El código es el mismo; tus números serán distintos.
#
# Una columna de palabras, como el medio de transporte, se convierte en una columna por palabra, con ceros y unos
# (*one-hot*). Así, las diez características del archivo se convierten en 18 columnas.
# %%
try:
    table = fnn.data.shipping()
except OSError:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    table = fnn.data.Dataset(
        found.data.astype("float32"),
        found.target.astype("int32"),
        tuple(found.feature_names),
        tuple(found.target_names),
    )

print(table.x.shape, table.classes, np.bincount(table.y))
for name, values in zip(table.features, table.x[:4].T):
    print(f"{name:26}", values)
# %% [markdown] en
# ### Split, then standardize
#
# The columns have very different scales. **Standardizing** gives each of them mean 0 and standard deviation 1:
#
# $$z = \frac{x - \mu}{\sigma}$$
#
# $\mu$ and $\sigma$ come from the *training* rows only. If they came from all rows, information about the test rows
# would leak into training.
# %% [markdown] es
# ### Primero dividir, luego estandarizar
#
# Las columnas tienen tamaños muy distintos. **Estandarizar** da a cada una media 0 y desviación estándar 1:
#
# $$z = \frac{x - \mu}{\sigma}$$
#
# $\mu$ y $\sigma$ se calculan *solo* con las filas de entrenamiento. Si se calcularan con todas, algo de las filas de
# prueba se filtraría en el entrenamiento.
# %%
x_train, x_test, y_train, y_test = fnn.data.train_test_split(
    table.x, table.y, test_size=0.3, seed=0, stratify=table.y
)
moments = fnn.data.standardize_fit(x_train)
x_train, x_test = (fnn.data.standardize(moments, x) for x in (x_train, x_test))
print("«mean|media»:", abs(x_train.mean(0)).max().round(3), end=", ")
print("«deviation|desviación»:", x_train.std(0).min().round(3))

baseline = max(np.mean(y_test), 1 - np.mean(y_test))
print(f"«always the same answer|siempre la misma respuesta»: accuracy {baseline:.3f}")
# %% [markdown] en
# ### A network with one output
#
# For two classes, one logit $z$ is enough: the sigmoid turns it into the probability of class 1, and the loss is the
# *binary* cross-entropy:
#
# $$p = \sigma(z) = \frac{1}{1 + e^{-z}}, \qquad L = -\,y \ln p - (1 - y) \ln (1 - p)$$
#
# $p > 0.5$ means the same as $z > 0$, so the threshold for logits is 0.
# %% [markdown] es
# ### Una red con una sola salida
#
# Para dos clases basta un logit $z$: la sigmoide lo convierte en la probabilidad de la clase 1, y la pérdida es la
# entropía cruzada *binaria*:
#
# $$p = \sigma(z) = \frac{1}{1 + e^{-z}}, \qquad L = -\,y \ln p - (1 - y) \ln (1 - p)$$
#
# $p > 0.5$ equivale a $z > 0$; por eso el umbral para los logits es 0.
# %%
hidden = [fnn.Dense(units, activation="tanh") for units in (128, 320, 512, 320, 128)]
task = fnn.Task(
    fnn.Sequential(*hidden, fnn.Dense(1)),
    "binary_crossentropy",
    fnn.adam(),
    metrics=("accuracy",),
)
# «one column, as the output|una columna, como la salida»
target = y_train[:, None].astype("float32")

start = fnn.init(task, jax.random.key(0), x_train[:1])
EPOCHS = 2 if QUICK else 10
ts, history = fnn.fit(
    task, start, (x_train, target), epochs=EPOCHS, validation_split=0.1, verbose=2
)
logits = fnn.predict(task, ts, x_test)
print(fnn.classification_report(logits, y_test, names=table.classes, threshold=0.0))
# %% [markdown] en
# The accuracy is better than always giving the same answer, but not by much: much of what makes a parcel late is not
# in this table. No network can know what its data do not contain.
#
# ### Class weights
#
# **Class weights** make mistakes on one class count more than mistakes on another, because the class is rare or
# because they cost more. With $n$ rows, $C$ classes and $n_c$ rows of class $c$, "balanced" makes both classes count
# the same:
#
# $$w_c = \frac{n}{C\, n_c}$$
#
# The third training run below treats a missed late parcel as one and a half times as bad as a false alarm.
# %% [markdown] es
# La exactitud supera la de dar siempre la misma respuesta, aunque no por mucho: gran parte de lo que retrasa un
# paquete no está en esta tabla. Ninguna red puede saber lo que sus datos no dicen.
#
# ### Pesos por clase
#
# Los **pesos por clase** hacen que los errores en una clase cuenten más que en otra: porque la clase es rara o porque
# salen más caros. Con $n$ filas, $C$ clases y $n_c$ filas de la clase $c$, "balanced" (equilibrado) hace que las dos
# clases cuenten igual:
#
# $$w_c = \frac{n}{C\, n_c}$$
#
# El tercer entrenamiento de abajo dice que pasar por alto un paquete tardío es una vez y media tan malo como una
# falsa alarma.
# %%
print("balanced:", (len(y_train) / (2 * np.bincount(y_train))).round(3))
choices = {
    "«no weights|sin pesos»": None,
    "balanced": "balanced",
    "1 : 1.5": {0: 1.0, 1: 1.5},
}

figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.1), layout="constrained")
for ax, (title, weights) in zip(axes, choices.items()):
    options = {"epochs": EPOCHS, "class_weight": weights, "verbose": 0}
    ts, _ = fnn.fit(task, start, (x_train, target), **options)
    logits = fnn.predict(task, ts, x_test)
    fnn.plot.confusion_matrix(logits, y_test, names=("0", "1"), threshold=0.0, ax=ax)
    accuracy = fnn.metrics.accuracy(logits, y_test, threshold=0.0)
    ax.set_title(f"{title}: accuracy {accuracy:.3f}", fontsize=10)
# %% [markdown] en
# Compare the rows of the matrices: what one class gains, the other loses. For many parcels the odds are about even,
# and a small weight moves nearly all of them to one side: with 1 : 1.5, hardly any late parcel is missed, but almost
# every customer is warned. Which is best is not a question of accuracy; it depends on the cost of each mistake.
#
# ## Part 2: what does a house cost?
#
# California, 1990: 20,640 districts with eight features each, such as the median income, the age of the houses and
# the location, and the median house price in units of 100,000 dollars (from `FNN_DATA`, or downloaded once). If
# neither is possible, scikit-learn's data on 442 diabetes patients replace them; the number to predict is then the
# progression of the disease.
# %% [markdown] es
# Compara las filas de las matrices: lo que gana una clase, lo pierde la otra. Con muchos paquetes las probabilidades
# están casi igualadas, y un peso pequeño los pasa casi todos a un mismo lado: con 1 : 1.5 apenas se escapa uno
# tardío, pero se avisa a casi todos los clientes. Cuál conviene no es cuestión de exactitud; depende de lo que cueste
# un error.
#
# ## Parte 2: ¿cuánto cuesta una casa?
#
# California, 1990: 20 640 distritos, ocho características de cada uno, como el ingreso mediano, la edad de las casas
# y el lugar, y el precio mediano de sus casas en cientos de miles de dólares (de `FNN_DATA`, o descargado una sola
# vez). Si ninguna de las dos cosas es posible, los reemplazan 442 pacientes con diabetes de scikit-learn; entonces,
# el número por predecir es cuánto avanzó su enfermedad.
# %%
try:
    houses = fnn.data.california_housing()
except OSError:
    from sklearn.datasets import load_diabetes

    found = load_diabetes()
    houses = fnn.data.Dataset(
        found.data.astype("float32"),
        found.target[:, None].astype("float32") / 100,
        tuple(found.feature_names),
        (),
    )

print(houses.x.shape, houses.y.shape)
for name, values in zip(houses.features, houses.x[:4].T):
    print(f"{name:10}", values.round(2))
print(f"{'y':10}", houses.y[:4, 0])
# %% [markdown] en
# Look at the data before you train. Each point is a district; can you see the coast, San Francisco and Los Angeles?
# %% [markdown] es
# Mira los datos antes de entrenar. Cada punto es un distrito; ¿ves la costa, San Francisco y Los Ángeles?
# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
place = ("Longitude", "Latitude") if "Latitude" in houses.features else ("bmi", "bp")
across, up = (houses.x[:, houses.features.index(name)] for name in place)
points = left.scatter(across, up, c=houses.y[:, 0], s=2, cmap="viridis")
left.set(xlabel=place[0], ylabel=place[1])
figure.colorbar(points, ax=left, label="y")
right.hist(houses.y[:, 0], bins=50, color=fnn.plot.COLORS[0])
right.set(xlabel="y", ylabel="«rows|filas»")
plt.show()
# %% [markdown] en
# The histogram shows that all prices above 5 were recorded as 5. We keep those rows, but it is good to know.
#
# ### Three parts
#
# This time we split twice: the network learns from the **training** rows, the **validation** rows determine when to
# stop, and the **test** rows are kept for the very end.
#
# The loss is the mean squared error. Its square root (RMSE) has the unit of the prices, which makes it easier to
# read:
#
# $$\mathrm{RMSE} = \sqrt{\frac{1}{n} \sum_{i=1}^{n} (\hat y_i - y_i)^2}$$
# %% [markdown] es
# El histograma muestra que todos los precios mayores que 5 se anotaron como 5. Conservamos esas filas, pero conviene
# saberlo.
#
# ### Tres partes
#
# Esta vez dividimos dos veces: la red aprende de las filas de **entrenamiento**, las de **validación** dicen cuándo
# parar y las de **prueba** se guardan para el final.
#
# La pérdida es el error cuadrático medio; su raíz (RMSE) está en la unidad de los precios, y por eso se lee mejor:
#
# $$\mathrm{RMSE} = \sqrt{\frac{1}{n} \sum_{i=1}^{n} (\hat y_i - y_i)^2}$$
# %%
x, x_test, y, y_test = fnn.data.train_test_split(houses.x, houses.y, seed=0)
x, x_val, y, y_val = fnn.data.train_test_split(x, y, seed=1)
moments = fnn.data.standardize_fit(x)
x, x_val, x_test = (fnn.data.standardize(moments, part) for part in (x, x_val, x_test))
if QUICK:
    x, y = x[:1000], y[:1000]
print(len(x), len(x_val), len(x_test))
print(f"«always the mean|siempre la media»: RMSE {y_test.std():.3f}")


# %% [markdown] en
# One dense layer without an activation is **linear regression**. Three hidden layers can bend the plane. **Early
# stopping** ends training when the validation RMSE has not improved for 8 epochs, and returns the best state.
# %% [markdown] es
# Una sola capa densa sin activación es una **regresión lineal**. Con tres capas ocultas, el plano se puede curvar. La
# **parada temprana** (*early stopping*) termina el entrenamiento cuando el RMSE de validación lleva 8 épocas sin
# mejorar, y devuelve el estado de la mejor.
# %%
def train(*layers):
    task = fnn.Task(fnn.Sequential(*layers), "mse", fnn.adam(), metrics=("rmse",))
    ts = fnn.init(task, jax.random.key(0), x[:1])
    stop = fnn.early_stopping("val_rmse", mode="min", patience=8)
    options = {"epochs": 3 if QUICK else 60, "callbacks": [stop], "verbose": 0}
    ts, history = fnn.fit(task, ts, (x, y), validation_data=(x_val, y_val), **options)
    print(f"«epochs|épocas»: {len(history['loss'])}", end=", ")
    print(f"«validation|validación»: {min(history['val_rmse']):.3f}", end=", ")
    print(f"«test|prueba»: {fnn.evaluate(task, ts, (x_test, y_test))['rmse']:.3f}")
    return task, ts, history


linear = train(fnn.Dense(1))
task, ts, history = train(
    *[fnn.Dense(50, activation="relu") for _ in range(3)], fnn.Dense(1)
)
# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
fnn.plot.learning_curves(history, "rmse", ax=left)
best = int(np.argmin(history["val_rmse"])) + 1
left.axvline(best, color="0.5", linewidth=1, linestyle=":")
left.set_title(f"rmse, «best epoch|mejor época»: {best}")

predicted = np.asarray(fnn.predict(task, ts, x_test))
right.scatter(y_test, predicted, s=3, alpha=0.3, color=fnn.plot.COLORS[0])
right.plot([0, y_test.max()], [0, y_test.max()], color="black", linewidth=1)
right.set(xlabel="$y$", ylabel="$\\hat{y}$", ylim=(0, 1.2 * y_test.max()))
right.set_title("«test rows|filas de prueba»")
plt.show()
# %% [markdown] en
# Points on the black line are perfect predictions. On the left, the validation curve has almost stopped falling while
# the training curve keeps falling: longer training would overfit.
#
# ## Exercises
#
# 1. In part 1, raise the threshold from 0 to the logit of $p = 0.7$, $\ln(0.7 / 0.3)$. What happens to precision and
#    recall?
# 2. The network in part 1 is large for so few rows. Try `(32, 16)` with `relu`, and dropout. Is the large one any
#    better?
# 3. In part 2, train without standardizing. What happens, and why?
# 4. Leave out latitude and longitude with `np.delete`. How much does knowing the location help?
#
# Next: [from neuron to network](05_neuron_to_network.en.ipynb).
# %% [markdown] es
# Un punto sobre la línea negra sería una predicción perfecta. A la izquierda, la curva de validación casi ha dejado
# de bajar mientras la de entrenamiento sigue: entrenar más sería sobreajuste.
#
# ## Ejercicios
#
# 1. En la parte 1, sube el umbral de 0 al logit de $p = 0.7$, $\ln(0.7 / 0.3)$. ¿Qué pasa con la precisión y la
#    exhaustividad (*recall*)?
# 2. La red de la parte 1 es grande para tan pocas filas. Prueba `(32, 16)` con `relu`, y dropout. ¿Es mejor la
#    grande?
# 3. En la parte 2, entrena sin estandarizar. ¿Qué pasa y por qué?
# 4. Quita la latitud y la longitud con `np.delete`. ¿Cuánto ayuda conocer el lugar?
#
# Siguiente: [de la neurona a la red](05_de_la_neurona_a_la_red.es.ipynb).
