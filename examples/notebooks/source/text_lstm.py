"""Source of the notebooks on text; see ../build.py."""

# %% [markdown] en
# # 3. Text with an LSTM
#
# A network reads 40 characters and guesses the next one. If it guesses well, it can **write**: it draws a character
# from its guess, appends it, reads again, and so on. Nobody tells it what a word is.
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

# «short trainings, for tests|entrenamientos cortos, para pruebas»
QUICK = "FNN_QUICK" in os.environ
# %% [markdown] en
# ## Data
#
# Our text is *Beyond Good and Evil* by Friedrich Nietzsche, in English, from the folder that `FNN_DATA` names or
# downloaded once. Where neither is possible, a page of *Alice's Adventures in Wonderland* takes its place: too short
# to learn a language from, long enough to be learned by heart. Any text of your own will do, too; half a million
# characters are a good length.
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
# Networks compute with numbers. The **vocabulary** is the list of all the symbols of the text, and each symbol gets
# its place in the list as its number.
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
# We cut the text into **windows** of 40 characters, one at every third position. The target of a window is the
# character that follows it. So the text itself supplies the right answers.
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
# The number of a symbol is only a name: "b" is not twice "a". So a network usually gets a **one-hot vector**, with a
# 1 at the symbol's place and 0 elsewhere. But such a vector times a matrix only picks out one row of the matrix,
#
# $$(0, \dots, 0, 1, 0, \dots, 0)\; W = W_k,$$
#
# and picking a row is far quicker than multiplying. `LSTM(128, input_dim=SYMBOLS)` takes the numbers as they are, and
# picks rows. Let us check that it is the same, and how much memory it saves.
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
# A recurrent network reads one symbol after the other and keeps a memory. In an **LSTM** (*long short-term memory*)
# it is the cell $c$, and three gates with values between 0 and 1 rule over it: the input gate $i$ lets something new
# in, the forget gate $f$ keeps or erases, the output gate $o$ decides what is shown:
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
# After the 40th symbol, a dense layer turns $h_{40}$ into one logit for every symbol.
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
# What loss may we expect? A guess that knows nothing gives every symbol the same probability; one that knows no more
# than how often each symbol occurs does better already:
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
# After each epoch a **callback** shows what the network writes by now, as the continuation of one passage. That passage
# is exactly `WIDTH` characters long, since it is the first window and the network has learned from windows of that
# length; for a longer one pass `width=WIDTH` to `generate_text`, which then reads only its last `WIDTH` characters.
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
    return fnn.text.generate_text(
        model, ts.params, ts.state, vocabulary, prompt, key, **options
    )


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
# First come letters in likely order, then short words, then the look of sentences. The meaning stays away: 128
# numbers of memory are not much.
#
# ## Temperature
#
# What are the network's guesses after our passage? The **temperature** $T$ sharpens or flattens them before a
# character is drawn:
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
# With a low temperature the network plays safe, and soon repeats itself. With a high one it is bold, and invents
# words.
# %% [markdown] es
# Con una temperatura baja, la red va a lo seguro y pronto se repite. Con una alta, se atreve más e inventa palabras.
# %%
for temperature in TEMPERATURES:
    show(temperature, continuation(ts, temperature))
# %% [markdown] en
# Chance comes from the key alone: the same key writes the same text, another key another one. At temperature 0 there
# is no chance at all; the most likely character is always taken.
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
# 1. $e^{L}$, the exponential of the loss, is called *perplexity*: among so many equally likely symbols the network
#    seems to choose. What is it before the training, and after it?
# 2. Pass `top_k=5` to `generate_text` and raise the temperature to 2. What does `top_k` prevent?
# 3. Take another text, `text = open("my_book.txt", encoding="utf-8").read().lower()`, in your own language. How many
#    symbols has it? Does the network learn the accents?
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
