"""Source of the notebooks on images; see ../build.py."""

# %% [markdown] en
# # 2. Images with a convolutional network
#
# A dense layer gives every unit a weight for every pixel. It ignores which pixels are neighbours, and for large
# images it has far too many weights: 1,024 units on an image of 200 × 200 pixels need about 41 million.
#
# A **convolution** slides a small pattern of weights, the *kernel*, over the whole image. It needs few weights and
# finds its pattern wherever it occurs.
# %% [markdown] es
# # 2. Imágenes con una red convolucional
#
# Una capa densa tiene, en cada unidad, un peso por píxel. No sabe qué píxeles son vecinos y, con imágenes grandes, le
# sobran pesos: 1024 unidades sobre una imagen de 200 × 200 píxeles necesitan unos 41 millones.
#
# Una **convolución** desliza un pequeño patrón de pesos, el *kernel* (o filtro), por toda la imagen. Necesita pocos
# pesos y encuentra su patrón en cualquier lugar donde esté.
# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

# «short training runs, for tests|entrenamientos cortos, para pruebas»
QUICK = "FNN_QUICK" in os.environ

dense = fnn.summary(fnn.Sequential(fnn.Flatten(), fnn.Dense(1024)), (200, 200, 1))
convolution = fnn.summary(fnn.Conv(1024, 3), (200, 200, 1))
print(f"«dense|densa»: {dense.total:,}")
print(f"«convolution|convolución»: {convolution.total:,}")
# %% [markdown] en
# ## Data
#
# MNIST: 70,000 handwritten digits of 28 × 28 pixels. We train on some of them, to finish in less than a minute. The
# files come from the folder named by the environment variable `FNN_DATA`, or are downloaded once. If neither is
# possible, scikit-learn's small digits replace them, and your numbers will differ from those shown here.
# %% [markdown] es
# ## Los datos
#
# MNIST: 70 000 dígitos escritos a mano, de 28 × 28 píxeles. Entrenamos con una parte de ellos para no tardar más de
# un minuto. Los archivos se leen de la carpeta que indica la variable de entorno `FNN_DATA` o se descargan una sola
# vez. Si ninguna de las dos cosas es posible, los reemplazan los dígitos pequeños de scikit-learn, y tus números
# serán distintos de los que ves aquí.
# %%
try:
    data = fnn.data.mnist()
    x_train = fnn.data.scale_images(data.x_train[:20_000])
    y_train = data.y_train[:20_000]
    x_test, y_test = fnn.data.scale_images(data.x_test), data.y_test
except OSError:
    digits = fnn.data.digits()
    x_train, x_test, y_train, y_test = fnn.data.train_test_split(
        digits.x, digits.y, test_size=0.25, seed=0
    )

if QUICK:
    x_train, y_train = x_train[:600], y_train[:600]
    x_test, y_test = x_test[:400], y_test[:400]
print(x_train.shape, x_test.shape)
fnn.plot.images(x_train[:16], y_train[:16], cmap="gray_r")
# %% [markdown] en
# An image has three axes: height, width and **channels**. A grey image has one channel, a colour image three. The
# first axis of `x_train` counts the images.
#
# ## A convolution by hand
#
# At each position, the kernel $w$ is laid over the image $x$, and the products are summed:
#
# $$y_{ij} = b + \sum_{a}\sum_{b'} w_{ab'}\; x_{i+a,\,j+b'}$$
#
# These two kernels detect edges: the first vertical ones, the second horizontal ones.
# %% [markdown] es
# Una imagen tiene tres ejes: alto, ancho y **canales**. Una imagen en grises tiene un canal; una en color, tres. El
# primer eje de `x_train` cuenta las imágenes.
#
# ## Una convolución a mano
#
# En cada lugar, el kernel $w$ se coloca sobre la imagen $x$ y se suman los productos:
#
# $$y_{ij} = b + \sum_{a}\sum_{b'} w_{ab'}\; x_{i+a,\,j+b'}$$
#
# Estos dos kernels responden a los bordes: el primero a los verticales y el segundo a los horizontales.
# %%
vertical = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "float32")
horizontal = vertical.T
edges = {
    "kernel": np.stack([vertical, horizontal], -1)[:, :, None, :],
    "bias": np.zeros(2, "float32"),
}

image = x_train[:1]
maps = fnn.conv(edges, image)
pooled = fnn.max_pool(maps, 2)
print(image.shape, "->", maps.shape, "->", pooled.shape)

pictures = {
    "«image|imagen»": image[0, ..., 0],
    "«vertical edges|bordes verticales»": maps[0, ..., 0],
    "«vertical, pooled|verticales, tras pooling»": pooled[0, ..., 0],
    "«horizontal edges|bordes horizontales»": maps[0, ..., 1],
    "«horizontal, pooled|horizontales, tras pooling»": pooled[0, ..., 1],
}
figure, axes = plt.subplots(1, 5, figsize=(10, 2.3), layout="constrained")
for ax, (title, array) in zip(axes, pictures.items()):
    limit = abs(array).max()
    ax.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
# %% [markdown] en
# Red is positive, blue negative. From left to right, the first kernel turns red where the ink begins and blue where
# it ends.
#
# Look at the shapes. A 3 × 3 kernel fits into $n$ pixels at $n - 2$ positions: that is `padding="valid"`. With
# `padding="same"`, the image gets a border of zeros and keeps its size. **Max pooling** keeps the largest number of
# every 2 × 2 square, which halves height and width: what was found matters more than its exact position.
#
# | layer | height and width of the output |
# |---|---|
# | `Conv(filters, k)` (valid) | $n - k + 1$ |
# | `Conv(filters, k, padding="same")` | $n$ |
# | `MaxPool(2)` | $\lfloor n/2 \rfloor$ |
#
# ## Dropout
#
# During training, **dropout** sets each number to 0 with probability $r$ and divides the others by $1 - r$, so that
# the mean stays the same. No unit can rely on any single other unit, which reduces overfitting. In prediction,
# nothing is dropped.
# %% [markdown] es
# El rojo es positivo y el azul, negativo: de izquierda a derecha, el primer kernel se pone rojo donde empieza la
# tinta y azul donde termina.
#
# Fíjate en las formas. Un kernel de 3 × 3 cabe en $n$ píxeles en $n - 2$ posiciones: es `padding="valid"`. Con
# `padding="same"`, la imagen recibe un borde de ceros y conserva su tamaño. El **max pooling** se queda con el mayor
# número de cada cuadrado de 2 × 2, y así reduce a la mitad el alto y el ancho: importa más qué se encontró que el
# lugar exacto.
#
# | capa | alto y ancho de la salida |
# |---|---|
# | `Conv(filters, k)` (valid) | $n - k + 1$ |
# | `Conv(filters, k, padding="same")` | $n$ |
# | `MaxPool(2)` | $\lfloor n/2 \rfloor$ |
#
# ## Dropout
#
# El **dropout** apaga cada número con probabilidad $r$ durante el entrenamiento y divide los demás entre $1 - r$ para
# que la media no cambie. Ninguna unidad puede confiar en una sola de las otras; eso combate el sobreajuste. Cuando la
# red se usa, no se apaga nada.
# %%
print(fnn.dropout(jax.random.key(0), jnp.ones(12), 0.5))
# %% [markdown] en
# ## Model and training
#
# Each filter of a convolution reads all channels of its input and produces one channel of its output. The second
# convolution therefore has $(3 \cdot 3 \cdot 16 + 1) \cdot 32 = 4{,}640$ parameters. Find this number in the table.
# %% [markdown] es
# ## Modelo y entrenamiento
#
# Cada filtro de una convolución ve todos los canales de su entrada y produce un canal de su salida. Por eso la
# segunda convolución tiene $(3 \cdot 3 \cdot 16 + 1) \cdot 32 = 4640$ parámetros. Busca este número en la tabla.
# %%
model = fnn.Sequential(
    fnn.Conv(16, 3, padding="same", activation="relu"),
    fnn.MaxPool(2),
    fnn.Conv(32, 3, padding="same", activation="relu"),
    fnn.MaxPool(2),
    fnn.Flatten(),
    fnn.Dropout(0.5),
    fnn.Dense(10),
)
task = fnn.Task(
    model, "sparse_categorical_crossentropy", fnn.adam(2e-3), metrics=("accuracy",)
)
print(fnn.summary(task, x_train[:1]))
# %%
ts = fnn.init(task, jax.random.key(0), x_train[:1])
EPOCHS = 2 if QUICK else 8
options = {"epochs": EPOCHS, "batch_size": 64, "validation_split": 0.1}
ts, history = fnn.fit(task, ts, (x_train, y_train), **options, verbose=2)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for ax, metric in zip(axes, ("loss", "accuracy")):
    fnn.plot.learning_curves(history, metric, ax=ax)
# %% [markdown] en
# The network does *better* on the validation images than on the training images, especially at first. This is not a
# mistake: the training figures are measured with dropout on, over an epoch in which the network still improves; the
# validation figures are measured afterwards, with all units active.
#
# ## Which digits are confused?
#
# In the **confusion matrix**, rows are true digits and columns are predicted digits. Everything off the diagonal is a
# mistake.
# %% [markdown] es
# La red acierta *más* con las imágenes de validación que con las de entrenamiento, sobre todo al principio. No es
# un error: el entrenamiento se mide con el dropout encendido y a lo largo de una época en la que la red todavía
# mejora; la validación, después y con todas las unidades trabajando.
#
# ## ¿Qué dígitos se confunden?
#
# En la **matriz de confusión**, las filas son los dígitos verdaderos y las columnas, los predichos. Lo que está fuera
# de la diagonal es un error.
# %%
scores = fnn.evaluate(task, ts, (x_test, y_test))
print({name: round(value, 4) for name, value in scores.items()})
logits = fnn.predict(task, ts, x_test)
predicted = np.asarray(logits.argmax(-1))
ax = fnn.plot.confusion_matrix(predicted, y_test)
# %% [markdown] en
# The mistakes, most confident first: predicted (true). Could you read them all?
# %% [markdown] es
# Los errores, primero aquellos en los que la red estaba más segura: predicho (verdadero). ¿Tú los leerías todos?
# %%
p = np.asarray(fnn.activations.softmax(logits))
wrong = np.flatnonzero(predicted != y_test)
wrong = wrong[np.argsort(-p[wrong].max(-1))]
print(f"{len(wrong)} / {len(y_test)}")
fnn.plot.images(
    x_test[wrong[:16]], y_test[wrong[:16]], predicted[wrong[:16]], cmap="gray_r"
)
# %% [markdown] en
# And the images it was least sure about, with the probability of each digit.
# %% [markdown] es
# Y las imágenes en las que estaba menos segura, con la probabilidad de cada dígito.
# %%
doubtful = np.argsort(p.max(-1))[:3]
fnn.plot.predictions(x_test[doubtful], p[doubtful], y_test[doubtful], cmap="gray_r")
# %% [markdown] en
# ## What has it learned?
#
# The 16 kernels of the first layer are small pictures themselves, and each turns an image into another picture: a
# **feature map**. Some detect edges, as ours did, but nobody designed them: gradient descent found them.
# %% [markdown] es
# ## ¿Qué ha aprendido?
#
# Los 16 kernels de la primera capa también son pequeñas imágenes, y cada uno convierte un dígito en otra imagen: un
# **mapa de características**. Algunos responden a los bordes, como los nuestros, pero nadie los escribió: los
# encontró el descenso por gradiente.
# %%
kernels = np.moveaxis(np.asarray(ts.params["conv"]["kernel"])[:, :, 0, :], -1, 0)
first = np.asarray(fnn.conv(ts.params["conv"], x_test[:1], padding="same"))[0]
figure, axes = plt.subplots(4, 8, figsize=(9, 4.6), layout="constrained")
limit = abs(kernels).max()
for i in range(16):
    row, column = 2 * (i // 8), i % 8
    axes[row, column].imshow(kernels[i], cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[row + 1, column].imshow(np.maximum(first[..., i], 0), cmap="gray_r")
for ax in axes.ravel():
    ax.set_axis_off()
# %% [markdown] en
# ## Exercises
#
# 1. Remove both `MaxPool(2)` layers. How many parameters does the last layer have now, and how much longer does an
#    epoch take?
# 2. Train without dropout. Compare the two learning curves.
# 3. Shift all test images by three pixels, `np.roll(x_test, 3, axis=2)`, and evaluate. Then do the same with the
#    dense network of the first notebook, trained on the same images. Which of the two suffers less, and why?
#
# Next: [text with an LSTM](03_text_lstm.en.ipynb).
# %% [markdown] es
# ## Ejercicios
#
# 1. Quita los dos `MaxPool(2)`. ¿Cuántos parámetros tiene ahora la última capa y cuánto más tarda una época?
# 2. Entrena sin dropout. Compara las dos curvas de aprendizaje.
# 3. Desplaza tres píxeles todas las imágenes de prueba con `np.roll(x_test, 3, axis=2)` y evalúa. Haz después lo
#    mismo con la red densa del primer cuaderno, entrenada con las mismas imágenes. ¿A cuál de las dos le afecta menos
#    y por qué?
#
# Siguiente: [texto con una LSTM](03_texto_lstm.es.ipynb).
