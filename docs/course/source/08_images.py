"""Source of the chapter on images; see ../../course.py."""

# %% [markdown] en
# # 8. Images and convolutions
#
# A dense layer gives every unit a weight for every pixel. For a photo of 200 by 200 pixels and 1,024 units, that makes
# 200 · 200 · 1,024 = 40,960,000 weights. It also has to learn what an edge looks like at every place anew.
#
# A **convolution** looks at a small window only, say 3 by 3, slides it over the image, and uses the *same* nine
# weights everywhere:
#
# $$y_{i,j} = \sum_{a=0}^{2} \sum_{b=0}^{2} k_{a,b} \; x_{i+a,\, j+b} + \text{bias}$$
#
# ## A convolution by hand
#
# This kernel is positive on the left and negative on the right, so it reacts to edges where bright turns into dark:
# %% [markdown] es
# # 8. Imágenes y convoluciones
#
# Una capa densa da a cada unidad un peso por píxel. Para una foto de 200 por 200 píxeles y 1024 unidades son 200 · 200
# · 1024 = 40 960 000 pesos. Además, tiene que aprender de nuevo en cada lugar qué aspecto tiene un borde.
#
# Una **convolución** mira solo una ventana pequeña, por ejemplo de 3 por 3, la desliza por la imagen y usa en todas
# partes los *mismos* nueve pesos:
#
# $$y_{i,j} = \sum_{a=0}^{2} \sum_{b=0}^{2} k_{a,b} \; x_{i+a,\, j+b} + \text{sesgo}$$
#
# ## Una convolución a mano
#
# Este filtro es positivo a la izquierda y negativo a la derecha, así que responde a los bordes donde lo claro pasa a
# oscuro:
# %%
import jax
import jax.numpy as jnp
import numpy as np

import fnn

digits = fnn.data.digits()
image = np.asarray(digits.x[0])[:, :, 0]
kernel = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], "float32")

by_hand = np.array(
    [[(image[i : i + 3, j : j + 3] * kernel).sum() for j in range(6)] for i in range(6)]
)
params = {"kernel": kernel[:, :, None, None], "bias": jnp.zeros(1)}
by_fnn = fnn.conv(params, image[None, :, :, None])[0, :, :, 0]
print(by_hand.shape, np.allclose(by_hand, by_fnn, atol=1e-5))
# %% [markdown] en
# Six by six values are left, because a window of 3 fits in six positions. With `padding="same"`, zeros around the
# image keep its size.
#
# ## A convolutional network
#
# A `Conv(16, 3)` layer learns sixteen such kernels. `MaxPool(2)` then keeps the largest of each two by two values: the
# image shrinks, and it matters less where exactly an edge was. At the end, a dense layer decides between ten digits.
# The loss for several classes is the cross-entropy of the softmax.
# %% [markdown] es
# Quedan seis por seis valores, porque una ventana de 3 cabe en seis posiciones. Con `padding="same"`, unos ceros
# alrededor de la imagen conservan su tamaño.
#
# ## Una red convolucional
#
# Una capa `Conv(16, 3)` aprende dieciséis filtros así. Después, `MaxPool(2)` se queda con el mayor de cada dos por dos
# valores: la imagen encoge, e importa menos dónde estaba exactamente un borde. Al final, una capa densa decide entre
# diez cifras. La pérdida con varias clases es la entropía cruzada de la softmax.
# %%
x, x_test, y, y_test = fnn.data.train_test_split(
    digits.x, digits.y, test_size=0.2, seed=0
)


def train(*layers):
    task = fnn.Task(
        fnn.Sequential(*layers, fnn.Flatten(), fnn.Dense(10)),
        "sparse_categorical_crossentropy",
        fnn.adam(0.005),
        metrics=("accuracy",),
    )
    ts = fnn.init(task, jax.random.key(0), x[:1])
    ts, _ = fnn.fit(task, ts, (x, y), epochs=12, verbose=0)
    return task, ts


convolutions = fnn.Conv(16, 3, activation="relu"), fnn.MaxPool(2)
task, ts = train(*convolutions)
print(fnn.summary(task, x[:1]))
# %%
accuracy = fnn.evaluate(task, ts, (x_test, y_test))["accuracy"]
print(f"{accuracy:.2f}")  # «varies|varía»
# %% [markdown] en
# ## What it gets wrong
#
# Look at the mistakes of a classifier before you change it. Titles show the predicted digit and, in parentheses, the
# true one. The rows below are the misread test digits first, then others:
# %% [markdown] es
# ## En qué se equivoca
#
# Antes de cambiar un clasificador, mira sus errores. Los títulos muestran la cifra predicha y, entre paréntesis, la
# verdadera. Primero van las cifras de prueba mal leídas y después otras:
# %%
predicted = np.asarray(fnn.predict(task, ts, x_test)).argmax(-1)
first = np.argsort(predicted == y_test, kind="stable")[:16]
axes = fnn.plot.images(
    x_test[first], y_test[first], predicted[first], columns=8, cmap="gray_r"
)
# %% [markdown] en
# ![Sixteen small digits; the misread ones come first, with red titles](08_images.png)
#
# Several of them would puzzle a person too. For larger images, stack more convolutions, and add
# [augmentation](../how-to/augmentation.md): images shifted, turned and zoomed at random during training.
#
# [Notebook 2](../../examples/notebooks/02_images_cnn.en.ipynb) trains such a network on MNIST. For two inputs instead
# of 64 pixels, watch the hidden layers in [the playground](../playground.md): `python -m fnn.playground --lesson xor`.
#
# ## Exercises
# %% [markdown] es
# ![Dieciséis cifras pequeñas; primero las mal leídas, con el título en rojo](08_imagenes.png)
#
# Algunas confundirían también a una persona. Para imágenes mayores, apila más convoluciones y añade [*data
# augmentation*](../../how-to/augmentation.md) (en inglés): imágenes movidas, giradas y ampliadas al azar al entrenar.
#
# El [cuaderno 2](../../../examples/notebooks/02_imagenes_cnn.es.ipynb) entrena una red así con MNIST. Con dos entradas
# en lugar de 64 píxeles, mira las capas ocultas en [el *playground*](../playground.md):
# `python -m fnn.playground --lesson xor`.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** How many parameters does `Conv(16, 3)` have on an image with 8 channels? Does the size of the image
# matter?
# %% [markdown] es
# **Ejercicio 1.** ¿Cuántos parámetros tiene `Conv(16, 3)` sobre una imagen de 8 canales? ¿Importa el tamaño de la
# imagen?
# %% [markdown] en
# $16 \cdot (3 \cdot 3 \cdot 8 + 1) = 1168$, for every size.
# %% [markdown] es
# $16 \cdot (3 \cdot 3 \cdot 8 + 1) = 1168$, sea cual sea el tamaño.
# %%
for size in (8, 200):
    params, _ = fnn.Conv(16, 3).init(jax.random.key(0), jnp.ones((1, size, size, 8)))
    print(size, sum(leaf.size for leaf in jax.tree.leaves(params)))
# %% [markdown] en
# **Exercise 2.** Compare the parameters and the test accuracy with a network whose hidden layer is `Dense(64)`.
# %% [markdown] es
# **Ejercicio 2.** Compara los parámetros y la exactitud de prueba con una red cuya capa oculta es `Dense(64)`.
# %%
dense_task, dense_ts = train(fnn.Flatten(), fnn.Dense(64, activation="relu"))
for name, one, state in (("conv", task, ts), ("dense", dense_task, dense_ts)):
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    accuracy = fnn.evaluate(one, state, (x_test, y_test))["accuracy"]
    print(f"{name:6} {size:5} {accuracy:.2f}")  # «varies|varía»
# %% [markdown] en
# On images of 8 by 8 pixels, both do well, the convolution with a third of the parameters. The gap grows with the
# image.
# %% [markdown] es
# Con imágenes de 8 por 8 píxeles las dos van bien, la convolución con un tercio de los parámetros. La diferencia crece
# con la imagen.
# %% [markdown] en
# **Exercise 3.** Shift all test images one pixel to the right. Which network suffers more?
# %% [markdown] es
# **Ejercicio 3.** Desplaza un píxel a la derecha todas las imágenes de prueba. ¿Qué red sufre más?
# %%
shifted = np.roll(x_test, 1, axis=2)
lost = {}
for name, one, state in (("conv", task, ts), ("dense", dense_task, dense_ts)):
    lost[name] = fnn.evaluate(one, state, (shifted, y_test))["accuracy"]
for name, accuracy in lost.items():
    print(f"{name:6} {accuracy:.2f}")  # «varies|varía»
# %% [markdown] en
# The dense one: each of its weights belongs to one pixel. The convolution suffers less, but its last dense layer still
# knows places. Training on shifted images helps both.
# %% [markdown] es
# La densa: cada uno de sus pesos pertenece a un píxel. La convolución sufre menos, pero su última capa densa aún
# conoce los lugares. A las dos les ayuda entrenar con imágenes desplazadas.
