"""Source of the notebooks on a first network; see ../build.py."""

# %% [markdown] en
# # 1. A first neural network
#
# In this notebook, a network learns to read handwritten digits. You will meet the five steps of every training run:
# **data, model, task, training, evaluation**. Everything works offline and takes a few seconds.
#
# Run the cells in order with *Shift + Enter*, and change anything you are curious about. To start over, restart the
# kernel.
# %% [markdown] es
# # 1. Una primera red neuronal
#
# En este cuaderno una red aprende a leer dígitos escritos a mano. Conocerás los cinco pasos de todo entrenamiento:
# **datos, modelo, tarea, entrenamiento y evaluación**. Todo funciona sin conexión y tarda unos segundos.
#
# Ejecuta las celdas en orden con *Mayús + Intro* y cambia lo que te despierte curiosidad. Para empezar de cero,
# reinicia el kernel. La biblioteca habla inglés: *loss* es la pérdida, *accuracy* la exactitud (la fracción de
# aciertos) y *epoch* una época, es decir, una pasada por todos los datos.
# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

# «short training runs, for tests|entrenamientos cortos, para pruebas»
QUICK = "FNN_QUICK" in os.environ
# %% [markdown] en
# ## Data
#
# scikit-learn comes with 1,797 images of handwritten digits, 8 by 8 pixels each, and the digit that each one shows.
# Pixel values range from 0 (white) to 1 (black).
#
# We set aside a fifth of the images as **test data**. The network never trains on them, so they show how well it
# reads digits it has *never seen*. `stratify` keeps the proportion of every digit the same in both parts.
# %% [markdown] es
# ## Los datos
#
# scikit-learn trae 1797 imágenes de 8 por 8 píxeles, cada una con el dígito que alguien escribió. Los píxeles son
# números entre 0 (blanco) y 1 (negro).
#
# Apartamos una quinta parte de las imágenes: los **datos de prueba**. La red nunca se entrena con ellos; por eso nos
# dicen qué tan bien lee dígitos que son *nuevos* para ella. Con `stratify`, las dos partes tienen la misma proporción
# de cada dígito.
# %%
digits = fnn.data.digits()
x_train, x_test, y_train, y_test = fnn.data.train_test_split(
    digits.x, digits.y, test_size=0.2, seed=0, stratify=digits.y
)
print("x_train:", x_train.shape, x_train.dtype)
print("y_train:", y_train.shape, y_train.dtype)
fnn.plot.images(x_train[:16], y_train[:16], cmap="gray_r")
# %% [markdown] en
# ## Model
#
# A **dense layer** multiplies its input by a matrix of weights $W$, adds a bias $b$, and applies an activation
# function $f$ to each result:
#
# $$h = f(x\,W + b)$$
#
# Our model has three layers:
#
# - `Flatten` turns an 8 × 8 × 1 image into a vector of 64 numbers,
# - `Dense(64, activation="relu")` is the hidden layer, with $\operatorname{relu}(z) = \max(0, z)$,
# - `Dense(10)` outputs one score per digit, the **logits**. The largest score is the answer.
# %% [markdown] es
# ## El modelo
#
# Una **capa densa** multiplica su entrada por una matriz de pesos $W$, suma un sesgo $b$ y aplica una función de
# activación $f$ a cada resultado:
#
# $$h = f(x\,W + b)$$
#
# Nuestro modelo tiene tres capas:
#
# - `Flatten` convierte una imagen de 8 × 8 × 1 en un vector de 64 números,
# - `Dense(64, activation="relu")` es la capa oculta, con $\operatorname{relu}(z) = \max(0, z)$,
# - `Dense(10)` da una puntuación para cada dígito: los **logits**. La mayor es la respuesta.
# %%
model = fnn.Sequential(
    fnn.Flatten(),
    fnn.Dense(64, activation="relu"),
    fnn.Dense(10),
)
print(fnn.summary(model, x_train[:1]))
# %% [markdown] en
# Check the table by hand: the hidden layer has $64 \cdot 64$ weights and $64$ biases, a total of $4{,}160$ numbers to
# learn. How many does the last layer have?
#
# ## Task
#
# A **task** says what to learn: which model, which loss and which optimizer. Softmax turns the logits $z$ into
# probabilities, and the loss of an image is small if its true digit $y$ has a high probability:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad L = -\ln p_y$$
#
# This is the *cross-entropy*. In fnn, it takes logits and applies the softmax itself.
#
# `fnn.init` creates the **state** from which training starts. Its parameters are random, but the same key always
# gives the same ones.
# %% [markdown] es
# Comprueba la tabla a mano: la capa oculta tiene $64 \cdot 64$ pesos y $64$ sesgos, es decir, $4160$ números por
# aprender. ¿Y la última?
#
# ## La tarea
#
# Una **tarea** dice qué hay que aprender: con qué modelo, qué función de pérdida y qué optimizador. La función
# softmax convierte los logits $z$ en probabilidades, y la pérdida de una imagen es pequeña cuando su verdadero dígito
# $y$ tiene una probabilidad alta:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad L = -\ln p_y$$
#
# Se llama *entropía cruzada*; en fnn recibe los logits y calcula ella misma la softmax.
#
# `fnn.init` crea el **estado** en el que empieza el entrenamiento. Sus parámetros son aleatorios, pero la misma clave
# (*key*) da siempre los mismos.
# %%
task = fnn.Task(
    model,
    loss="sparse_categorical_crossentropy",
    optimizer=fnn.adam(1e-3),
    metrics=("accuracy",),
)
start = fnn.init(task, jax.random.key(0), x_train[:1])

for path, array in fnn.paths(start.params).items():
    print(path, array.shape)
print(fnn.evaluate(task, start, (x_test, y_test)))
# %% [markdown] en
# Before training, the network guesses: about one digit in ten is right, and the loss is close to
# $\ln 10 \approx 2.3$.
#
# ## Training
#
# One **step** takes 32 images, computes the gradient of their mean loss, and moves every parameter slightly downhill.
# One **epoch** visits every training image once. `validation_split=0.1` holds out a tenth of the training images: the
# network does not train on them, but is evaluated on them after each epoch.
#
# `fit` returns a *new* state. `verbose=2` prints a line per epoch; `verbose=1` shows a progress bar. The first epoch
# takes longest, because the program is compiled before it runs.
# %% [markdown] es
# Antes de entrenar, la red adivina: acierta más o menos uno de cada diez dígitos, y la pérdida ronda
# $\ln 10 \approx 2.3$.
#
# ## El entrenamiento
#
# Un **paso** toma 32 imágenes, calcula el gradiente de su pérdida media y mueve cada parámetro un poco cuesta abajo.
# Una **época** recorre una vez todas las imágenes de entrenamiento. Con `validation_split=0.1`, una décima parte de
# ellas no se usa para entrenar, sino para medir después de cada época: son los datos de validación.
#
# `fit` devuelve un estado *nuevo*. `verbose=2` escribe una línea por época; `verbose=1` muestra una barra de
# progreso. La primera época es la que más tarda, porque el programa se compila antes de ejecutarse.
# %%
EPOCHS = 3 if QUICK else 20
ts, history = fnn.fit(
    task, start, (x_train, y_train), epochs=EPOCHS, validation_split=0.1, verbose=2
)
# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for ax, metric in zip(axes, ("loss", "accuracy")):
    fnn.plot.learning_curves(history, metric, ax=ax)
# %% [markdown] en
# These are the **learning curves**. The training curve keeps falling. If the validation curve turned upwards while
# the training curve kept falling, the network would be memorizing the training images: that is **overfitting**.
#
# ## Evaluation
#
# Now the test images, which played no part in training.
# %% [markdown] es
# Estas son las **curvas de aprendizaje**. La curva de entrenamiento sigue bajando. Si la de validación empezara a
# subir mientras la otra baja, la red estaría aprendiendo de memoria las imágenes de entrenamiento: eso es el
# **sobreajuste**.
#
# ## La evaluación
#
# Ahora, las imágenes de prueba, que no participaron en absoluto en el entrenamiento.
# %%
print(fnn.evaluate(task, ts, (x_test, y_test)))
logits = fnn.predict(task, ts, x_test)
print(fnn.classification_report(logits, y_test))
# %% [markdown] en
# For each digit, *precision* is the fraction of correct answers among the images that the network gave this label,
# and *recall* is the fraction of the digit's images that the network found. *F1* combines the two, and *support* is
# the number of images.
#
# Let us look at the mistakes first. Each title shows the predicted digit and, in parentheses, the true one.
# %% [markdown] es
# Para cada dígito, la *precisión* (precision) es la fracción de aciertos entre las imágenes a las que la red dio ese
# nombre; la *exhaustividad* (recall), la fracción de sus imágenes que la red encontró. *F1* combina ambas y *support*
# es el número de imágenes.
#
# Veamos primero los errores. El título de cada imagen es el dígito predicho y, entre paréntesis, el verdadero.
# %%
predicted = np.asarray(logits.argmax(-1))
order = np.argsort(predicted == y_test, kind="stable")[:16]
fnn.plot.images(x_test[order], y_test[order], predicted[order], cmap="gray_r")
# %% [markdown] en
# How confident was the network? These are the images whose most likely digit has the lowest probability.
# %% [markdown] es
# ¿Qué tan segura estaba la red? Estas son las imágenes en las que el mejor dígito tiene la probabilidad más baja.
# %%
p = np.asarray(fnn.activations.softmax(logits))
doubtful = np.argsort(p.max(-1))[:3]
fnn.plot.predictions(x_test[doubtful], p[doubtful], y_test[doubtful], cmap="gray_r")
# %% [markdown] en
# ## Why a pure function is useful
#
# In fnn, a training run is a **pure function**: its result depends only on its arguments, and nothing else changes.
# You can see this here: `start`, the state we began with, is as untrained as before.
# %% [markdown] es
# ## Para qué sirve una función pura
#
# En fnn, un entrenamiento es una **función pura**: lo que sale depende solo de lo que entra, y nada más cambia. Se
# puede ver: `start`, el estado con el que empezamos, sigue tan poco entrenado como antes.
# %%
print(fnn.evaluate(task, start, (x_test, y_test)))
# %% [markdown] en
# Whatever JAX can do to a function, it can do to a whole training run. For example: what is a good **learning rate**?
# It is the step size $\eta$ of gradient descent, which replaces every weight $w$ by
#
# $$w - \eta\,\frac{\partial L}{\partial w}$$
#
# Our optimizer, Adam, rescales the gradients first, but its $\eta$ plays the same role.
#
# We write a training run as a function of its learning rate, and `fnn.many` turns it into a function of several
# rates: four runs at once, compiled into a single program. We compare the rates on validation images: if we chose
# with the test images, they would no longer be unseen.
# %% [markdown] es
# Y lo que JAX puede hacer con una función, puede hacerlo con un entrenamiento completo. Por ejemplo: ¿qué **tasa de
# aprendizaje** conviene? Es el tamaño $\eta$ de los pasos del descenso por gradiente, que a cada peso $w$ le da el
# valor
#
# $$w - \eta\,\frac{\partial L}{\partial w}$$
#
# Adam, nuestro optimizador, primero reescala los gradientes, pero su $\eta$ desempeña el mismo papel.
#
# Escribimos un entrenamiento como función de su tasa de aprendizaje, y `fnn.many` la convierte en una función de
# muchas: cuatro entrenamientos a la vez, compilados en un solo programa. La tasa se elige con imágenes de validación:
# si la eligiéramos con las de prueba, estas dejarían de ser nuevas.
# %%
x_learn, x_val, y_learn, y_val = fnn.data.train_test_split(
    x_train, y_train, test_size=0.1, seed=1, stratify=y_train
)
RATES = jnp.array([1e-5, 1e-3, 1e-2, 1.0])


def trial(rate):
    ts = fnn.set_hyper(start, learning_rate=rate)
    return fnn.run(
        task, ts, (x_learn, y_learn), epochs=EPOCHS, validation_data=(x_val, y_val)
    )


trained, histories = jax.jit(fnn.many(trial))(RATES)
print({name: values.shape for name, values in histories.items()})
# %%
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
epochs = np.arange(1, EPOCHS + 1)
for rate, losses, marker, color in zip(
    RATES, histories["loss"], "osv^", fnn.plot.COLORS
):
    label = f"$\\eta$ = {rate:g}"
    ax.plot(epochs, losses, marker=marker, markersize=4, color=color, label=label)
ax.set(xlabel="«epoch|época»", ylabel="«training loss|pérdida»", yscale="log")
ax.set_xticks(epochs[1::2])
legend = ax.legend(frameon=False)
# %% [markdown] en
# If the steps are too small, the loss hardly moves; if they are too large, training overshoots and never returns to a
# low loss. In between, the network learns. `trained` holds all four networks: each parameter has one more axis.
# %% [markdown] es
# Con pasos demasiado pequeños, la pérdida apenas se mueve; con pasos demasiado grandes, el entrenamiento salta muy
# lejos y ya no vuelve a una pérdida baja. Entre ambos extremos, aprende. `trained` contiene las cuatro redes: sus
# parámetros tienen un eje más.
# %%
print({path: array.shape for path, array in fnn.paths(trained.params).items()})
for rate, accuracy in zip(RATES, histories["val_accuracy"]):
    print(f"{rate:g}: {accuracy[-1]:.3f}")
# %% [markdown] en
# ## Exercises
#
# 1. Give the hidden layer 4, 16 and 256 units. How do the number of parameters and the test accuracy change?
# 2. Add a second hidden layer, followed by `fnn.Dropout(0.2)`. Do the two learning curves move closer together?
# 3. Write a `trial(key)` that passes its key to `fnn.init`, and train eight networks that differ only in their random
#    initial values: `fnn.many(trial)(jax.random.split(jax.random.key(1), 8))`. How much do their accuracies differ?
#
# Next: [images with a convolutional network](02_images_cnn.en.ipynb).
# %% [markdown] es
# ## Ejercicios
#
# 1. Ponle a la capa oculta 4, 16 y 256 unidades. ¿Cómo cambian el número de parámetros y la exactitud en los datos de
#    prueba?
# 2. Añade una segunda capa oculta y, después de ella, `fnn.Dropout(0.2)`. ¿Se acercan entre sí las dos curvas de
#    aprendizaje?
# 3. Escribe un `trial(key)` que llame a `fnn.init` con su clave y entrena ocho redes que solo se distingan en su
#    inicio aleatorio: `fnn.many(trial)(jax.random.split(jax.random.key(1), 8))`. ¿Cuánto difieren sus exactitudes?
#
# Siguiente: [imágenes con una red convolucional](02_imagenes_cnn.es.ipynb).
