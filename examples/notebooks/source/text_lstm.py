"""Source of the notebooks on text; see ../build.py."""

# %% [markdown] en
# # 3. Text with an LSTM
#
# A network reads 40 characters and predicts the next one. If it predicts well, it can **write**: it samples a
# character from its prediction, appends it, reads again, and so on. Nobody tells it what a word is.
# %% [markdown] es
# # 3. Texto con una LSTM
#
# Una red lee 40 caracteres y adivina el siguiente. Si adivina bien, puede **escribir**: sortea un carácter según su
# predicción, lo añade, vuelve a leer, y así sucesivamente. Nadie le dice qué es una palabra.
# %%
import os
import textwrap

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
# Our text is *Beyond Good and Evil* by Friedrich Nietzsche, in English, read from the folder named by `FNN_DATA` or
# downloaded once. If neither is possible, a page of *Alice's Adventures in Wonderland* replaces it: too short to
# learn a language from, but long enough to memorize. Any text of your own works too; half a million characters is a
# good length.
# %% [markdown] es
# ## Los datos
#
# Nuestro texto es *Más allá del bien y del mal*, de Friedrich Nietzsche, en traducción inglesa; se lee de la carpeta
# que indica `FNN_DATA` o se descarga una sola vez. Si ninguna de las dos cosas es posible, lo reemplaza el comienzo
# del *Quijote*: demasiado corto para aprender un idioma, pero suficiente para aprendérselo de memoria. También sirve
# cualquier texto tuyo; medio millón de caracteres es una buena longitud.
# %%
PASSAGE = """«
Alice was beginning to get very tired of sitting by her sister on the bank, and of
having nothing to do: once or twice she had peeped into the book her sister was reading,
but it had no pictures or conversations in it, "and what is the use of a book," thought
Alice, "without pictures or conversations?" So she was considering in her own mind (as
well as she could, for the hot day made her feel very sleepy and stupid), whether the
pleasure of making a daisy-chain would be worth the trouble of getting up and picking
the daisies, when suddenly a White Rabbit with pink eyes ran close by her. There was
nothing so very remarkable in that; nor did Alice think it so very much out of the way
to hear the Rabbit say to itself, "Oh dear! Oh dear! I shall be late!" But when the
Rabbit actually took a watch out of its waistcoat-pocket, and looked at it, and then
hurried on, Alice started to her feet, for it flashed across her mind that she had never
before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and
burning with curiosity, she ran across the field after it.
|
En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que
vivía un hidalgo de los de lanza en astillero, adarga antigua, rocín flaco y galgo
corredor. Una olla de algo más vaca que carnero, salpicón las más noches, duelos y
quebrantos los sábados, lentejas los viernes, algún palomino de añadidura los domingos,
consumían las tres partes de su hacienda. El resto della concluían sayo de velarte,
calzas de velludo para las fiestas, con sus pantuflos de lo mesmo, y los días de
entresemana se honraba con su vellorí de lo más fino. Tenía en su casa una ama que
pasaba de los cuarenta, y una sobrina que no llegaba a los veinte, y un mozo de campo y
plaza, que así ensillaba el rocín como tomaba la podadera. Frisaba la edad de nuestro
hidalgo con los cincuenta años; era de complexión recia, seco de carnes, enjuto de
rostro, gran madrugador y amigo de la caza.
»"""

try:
    text = fnn.data.nietzsche().lower()
except OSError:
    text = PASSAGE.replace("\n", " ").strip().lower() * 20

if QUICK:
    text = text[:8_000]
print(f"{len(text):,}")
print(textwrap.fill(text[2_000:2_300], 90))
# %% [markdown] en
# ## Vocabulary: from characters to numbers
#
# Networks compute with numbers. The **vocabulary** lists all symbols of the text; the position of a symbol in the
# list is its number.
# %% [markdown] es
# ## Vocabulario: de caracteres a números
#
# Las redes calculan con números. El **vocabulario** es la lista de todos los símbolos del texto, y cada símbolo
# recibe como número su lugar en la lista.
# %%
vocabulary = fnn.text.Vocabulary.of(text)
SYMBOLS = len(vocabulary.symbols)
print(SYMBOLS, repr(vocabulary.symbols))

ids = vocabulary.encode("abba")
print(ids, vocabulary.decode(ids))
# %% [markdown] en
# ## Windows: from a text to examples
#
# We cut the text into **windows** of 40 characters, starting at every third position. The target of a window is the
# character that follows it, so the text itself supplies the answers.
# %% [markdown] es
# ## Ventanas: de un texto a ejemplos
#
# Cortamos el texto en **ventanas** de 40 caracteres, una cada tres posiciones. El objetivo de una ventana es el
# carácter que la sigue. Así, el propio texto da las respuestas correctas.
# %%
WIDTH = 40
x, y = fnn.text.windows(vocabulary.encode(text), WIDTH, step=3)
print(x.shape, y.shape)
for i in range(700, 704):
    print(repr(vocabulary.decode(x[i])), "->", repr(vocabulary.decode(y[i : i + 1])))
# %% [markdown] en
# ## One-hot vectors, without building them
#
# The number of a symbol is only a name: "b" is not twice "a". A network therefore usually receives a **one-hot
# vector**, with a 1 at the symbol's position and 0 elsewhere. But multiplying such a vector by a matrix only selects
# one row of the matrix,
#
# $$(0, \dots, 0, 1, 0, \dots, 0)\; W = W_k,$$
#
# and selecting a row is much faster than multiplying. `LSTM(128, input_dim=SYMBOLS)` accepts the numbers as they are
# and selects rows. Let us check that the result is the same, and how much memory this saves.
# %% [markdown] es
# ## Vectores one-hot, sin construirlos
#
# El número de un símbolo es solo un nombre: la «b» no es el doble de la «a». Por eso una red suele recibir un
# **vector one-hot**, con un 1 en el lugar del símbolo y 0 en los demás. Pero ese vector por una matriz no hace más
# que elegir una fila de la matriz,
#
# $$(0, \dots, 0, 1, 0, \dots, 0)\; W = W_k,$$
#
# y elegir una fila es mucho más rápido que multiplicar. `LSTM(128, input_dim=SYMBOLS)` recibe los números tal cual y
# elige filas. Comprobemos que es lo mismo y cuánta memoria ahorra.
# %%
W = jax.random.normal(jax.random.key(0), (SYMBOLS, 5))
print(jnp.abs(fnn.one_hot(x[0], SYMBOLS) @ W - W[x[0]]).max())
print(f"one-hot: {4 * x.size * SYMBOLS / 1e6:,.0f} MB   ->   {x.nbytes / 1e6:,.0f} MB")
# %% [markdown] en
# ## The LSTM
#
# A recurrent network reads one symbol after another and keeps a memory. In an **LSTM** (*long short-term memory*),
# the memory is the cell $c$, controlled by three gates with values between 0 and 1: the input gate $i$ lets new
# information in, the forget gate $f$ keeps or erases the old, and the output gate $o$ decides what is passed on:
#
# $$
# \begin{aligned}
# i, f, o &= \sigma(x_t W + h_{t-1} U + b) && \text{(each with its own weights)}\\
# g &= \tanh(x_t W_g + h_{t-1} U_g + b_g)\\
# c_t &= f \odot c_{t-1} + i \odot g\\
# h_t &= o \odot \tanh(c_t)
# \end{aligned}
# $$
#
# After the 40th symbol, a dense layer turns $h_{40}$ into one logit per symbol.
# %% [markdown] es
# ## La LSTM
#
# Una red recurrente lee un símbolo tras otro y guarda una memoria. En una **LSTM** (*long short-term memory*, memoria
# larga a corto plazo), la memoria es la celda $c$, y la gobiernan tres compuertas con valores entre 0 y 1: la de
# entrada, $i$, deja pasar lo nuevo; la de olvido, $f$, conserva o borra; la de salida, $o$, decide qué se muestra:
#
# $$
# \begin{aligned}
# i, f, o &= \sigma(x_t W + h_{t-1} U + b) && \text{(cada una con sus propios pesos)}\\
# g &= \tanh(x_t W_g + h_{t-1} U_g + b_g)\\
# c_t &= f \odot c_{t-1} + i \odot g\\
# h_t &= o \odot \tanh(c_t)
# \end{aligned}
# $$
#
# Después del símbolo 40, una capa densa convierte $h_{40}$ en un logit para cada símbolo.
# %%
model = fnn.Sequential(
    fnn.LSTM(32 if QUICK else 128, input_dim=SYMBOLS),
    fnn.Dense(SYMBOLS),
)
task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.rmsprop(0.01))
print(fnn.summary(task, x[:1]))
# %% [markdown] en
# What loss should we expect? A guess that knows nothing gives every symbol the same probability; one that knows how
# often each symbol occurs already does better:
# %% [markdown] es
# ¿Qué pérdida podemos esperar? Quien no sabe nada da a todos los símbolos la misma probabilidad; quien solo sabe con
# qué frecuencia aparece cada símbolo ya lo hace mejor:
# %%
frequency = np.bincount(y, minlength=SYMBOLS) / len(y)
frequency = frequency[frequency > 0]
print(f"«all alike|todos iguales»: {np.log(SYMBOLS):.2f}")
print(f"«by frequency|por frecuencia»: {-(frequency * np.log(frequency)).sum():.2f}")
# %% [markdown] en
# ## Training
#
# After each epoch, a **callback** shows how the network continues a passage. The passage is the first window, exactly
# `WIDTH` characters long, because the network learns from windows of that length. For a longer one, pass
# `width=WIDTH` to `generate_text`, which then reads only the last `WIDTH` characters.
# %% [markdown] es
# ## El entrenamiento
#
# Después de cada época, una función *callback* muestra qué escribe la red hasta ese momento, como
# continuación de un mismo pasaje. El pasaje mide exactamente `WIDTH` caracteres, porque es la primera ventana y la red
# ha aprendido con ventanas de esa longitud; si el tuyo es más largo, pásale `width=WIDTH` a `generate_text`, que
# entonces solo lee los últimos `WIDTH` caracteres.
# %%
end = text.index(" ", len(text) // 2) + 1
prompt = text[end - WIDTH : end]


def continuation(ts, temperature, length=300, seed=0):
    key = jax.random.key(seed)
    options = {"length": length, "temperature": temperature}
    return fnn.text.generate_text(task, ts, vocabulary, prompt, key, **options)


def show(temperature, new):
    print(f"\n--- {temperature}")
    print(textwrap.fill((prompt + "|" + new).replace("\n", " "), 90))


def write(epoch, ts, logs):
    show(0.5, continuation(ts, 0.5, length=160))


ts = fnn.init(task, jax.random.key(0), x[:1])
EPOCHS = 1 if QUICK else 2
ts, history = fnn.fit(
    task, ts, (x, y), epochs=EPOCHS, batch_size=128, callbacks=[write], verbose=2
)
# %% [markdown] en
# First come plausible letters, then short words, then something that looks like sentences. The meaning is missing:
# 128 numbers of memory are not much.
#
# ## Temperature
#
# What does the network predict after our passage? The **temperature** $T$ sharpens or flattens the prediction before
# a character is sampled:
#
# $$p_k = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}$$
# %% [markdown] es
# Primero aparecen letras en un orden probable, luego palabras cortas y después algo que parece una frase. El sentido
# no llega: 128 números de memoria no son gran cosa.
#
# ## Temperatura
#
# ¿Qué predice la red después de nuestro pasaje? La **temperatura** $T$ hace más nítidas o más planas las predicciones
# antes del sorteo:
#
# $$p_k = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}$$
# %%
TEMPERATURES = (0.2, 0.5, 1.0, 1.2)
logits = fnn.predict(task, ts, vocabulary.encode(prompt)[None])[0]
names = [{" ": "␣", "\n": "↵"}.get(symbol, symbol) for symbol in vocabulary.symbols]

print(repr(prompt))
figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
for ax, temperature in zip(axes, TEMPERATURES):
    p = fnn.activations.softmax(logits / temperature)
    fnn.plot.probabilities(p, names=names, top=8, ax=ax)
    ax.set_title(f"$T$ = {temperature}")
# %% [markdown] en
# At a low temperature, the network plays it safe and soon repeats itself. At a high one, it is bold and invents
# words.
# %% [markdown] es
# Con una temperatura baja, la red va a lo seguro y pronto se repite. Con una alta, se atreve más e inventa palabras.
# %%
for temperature in TEMPERATURES:
    show(temperature, continuation(ts, temperature))
# %% [markdown] en
# All randomness comes from the key: the same key writes the same text, another key another text. At temperature 0
# nothing is random: the most likely character is always chosen.
# %% [markdown] es
# El azar viene solo de la clave: la misma clave escribe el mismo texto; otra clave, otro. Con temperatura 0 no hay
# azar: se toma siempre el carácter más probable.
# %%
print(continuation(ts, 1.0) == continuation(ts, 1.0))
print(continuation(ts, 1.0) == continuation(ts, 1.0, seed=1))
print(continuation(ts, 0.0) == continuation(ts, 0.0, seed=1))
# %% [markdown] en
# ## Exercises
#
# 1. $e^{L}$, the exponential of the loss, is called *perplexity*: the number of equally likely symbols that the
#    network seems to choose from. What is it before training, and what after?
# 2. Pass `top_k=5` to `generate_text` and raise the temperature to 2. What does `top_k` prevent?
# 3. Use another text, `text = open("my_book.txt", encoding="utf-8").read().lower()`, in your own language. How many
#    symbols does it have? Does the network learn the accents?
#
# Next: [tables](04_tables.en.ipynb).
# %% [markdown] es
# ## Ejercicios
#
# 1. La exponencial de la pérdida, $e^{L}$, se llama *perplejidad*: es como si la red eligiera entre ese número de
#    símbolos igualmente probables. ¿Cuánto vale antes del entrenamiento y cuánto después?
# 2. Pasa `top_k=5` a `generate_text` y sube la temperatura a 2. ¿Qué evita `top_k`?
# 3. Toma otro texto, `text = open("mi_libro.txt", encoding="utf-8").read().lower()`, en tu idioma. ¿Cuántos símbolos
#    tiene? ¿Aprende la red las tildes?
#
# Siguiente: [tablas](04_tablas.es.ipynb).
