"""Source of the chapter on sequences; see ../../course.py."""

# %% [markdown] en
# # 9. Sequences and text
#
# The networks so far take all of their input at once. A text, a melody or a series of prices comes one step after
# another, and its length varies. A **recurrent** layer reads a step at a time and carries a state from each to the
# next:
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b)$$
#
# The same weights act at every step. Over many steps the gradient vanishes, as in a deep network ([chapter
# 5](05_activations.md)). The **LSTM** (Hochreiter and Schmidhuber, 1997) adds a memory $c_t$ that changes by sums, and
# three gates between 0 and 1 that decide what to forget ($f$), what to store ($i$) and what to show ($o$):
#
# $$f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f), \quad i_t = \sigma(W_i x_t + U_i h_{t-1} + b_i)$$
#
# $$o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o), \quad g_t = \tanh(W_g x_t + U_g h_{t-1} + b_g)$$
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t)$$
#
# ## A text as numbers
#
# The task: predict the next character. A model that can do this can also write, by reading its own output. Here is a
# text short enough to learn by heart:
# %% [markdown] es
# # 9. Secuencias y texto
#
# Las redes anteriores reciben toda su entrada a la vez. Un texto, una melodía o una serie de precios llegan paso a
# paso, y su longitud varía. Una capa **recurrente** lee un paso cada vez y lleva un estado de cada uno al siguiente:
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b)$$
#
# En todos los pasos actúan los mismos pesos. Tras muchos pasos el gradiente se desvanece, como en una red profunda
# ([capítulo 5](05_activaciones.md)). La **LSTM** (Hochreiter y Schmidhuber, 1997) añade una memoria $c_t$ que cambia
# con sumas y tres puertas entre 0 y 1, que deciden qué olvidar ($f$), qué guardar ($i$) y qué mostrar ($o$):
#
# $$f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f), \quad i_t = \sigma(W_i x_t + U_i h_{t-1} + b_i)$$
#
# $$o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o), \quad g_t = \tanh(W_g x_t + U_g h_{t-1} + b_g)$$
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t)$$
#
# ## Un texto en números
#
# La tarea es predecir el carácter siguiente. Un modelo que sabe hacerlo también sabe escribir, leyendo lo que él mismo
# escribe. Aquí hay un texto lo bastante corto para aprenderlo de memoria:
# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import fnn

text = """
«peter piper picked a peck of pickled peppers. a peck of pickled peppers peter piper
picked. if peter piper picked a peck of pickled peppers, where's the peck of pickled
peppers peter piper picked?|tres tristes tigres tragaban trigo en un trigal. en un trigal tragaban trigo tres
tristes tigres. si tres tristes tigres tragan trigo en un trigal, ¿cuánto trigo tragan
tres tristes tigres?»
"""
text = " ".join(text.split())
vocabulary = fnn.text.Vocabulary.of(text)
symbols = len(vocabulary.symbols)
x, y = fnn.text.windows(vocabulary.encode(text), 12)
print(len(text), symbols, x.shape)
print(repr(vocabulary.decode(x[0])), "->", repr(vocabulary.decode(y[:1])))
# %% [markdown] en
# Each example is a window of twelve characters; the target is the character that follows. `input_dim` lets the LSTM
# read characters as numbers, as if they were one-hot vectors.
#
# ## A model that writes
# %% [markdown] es
# Cada ejemplo es una ventana de doce caracteres; el objetivo es el carácter que sigue. Con `input_dim`, la LSTM lee
# los caracteres como números, igual que si fueran vectores *one-hot*.
#
# ## Un modelo que escribe
# %%
task = fnn.Task(
    fnn.Sequential(fnn.LSTM(48, input_dim=symbols), fnn.Dense(symbols)),
    "sparse_categorical_crossentropy",
    fnn.adam(0.01),
    metrics=("accuracy",),
)
ts = fnn.init(task, jax.random.key(0), x[:1])
young, _ = fnn.fit(task, ts, (x, y), epochs=8, verbose=0)
ts, history = fnn.fit(task, young, (x, y), epochs=60, verbose=0)
print(history["accuracy"][-1] > 0.95)


# %%
def write(state, temperature):
    key, prompt = jax.random.key(0), vocabulary.decode(x[0])
    return prompt + fnn.text.generate_text(
        task, state, vocabulary, prompt, key, length=40, temperature=temperature
    )


print(write(young, 0))  # «varies|varía»
print(write(ts, 0))
# %% [markdown] en
# After eight epochs, the model knows a few syllables; after sixty-eight, the text. Both lines always take the most
# likely character: **temperature** 0.
#
# ## Temperature
#
# A text of the most likely characters soon repeats itself. Instead, draw the next character at random from the
# predicted probabilities. The temperature $T$ sharpens or flattens them:
#
# $$p_k = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}$$
# %% [markdown] es
# Tras ocho épocas, el modelo conoce unas cuantas sílabas; tras sesenta y ocho, el texto. Las dos líneas toman siempre
# el carácter más probable: **temperatura** 0.
#
# ## Temperatura
#
# Un texto hecho de los caracteres más probables pronto se repite. En su lugar, se sortea el siguiente carácter según
# las probabilidades predichas. La temperatura $T$ las afila o las aplana:
#
# $$p_k = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}$$
# %%
logits = fnn.predict(task, young, x[:1])[0]
names = [symbol.replace(" ", "␣") for symbol in vocabulary.symbols]
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, temperature in zip(axes, (0.3, 1.0, 2.0)):
    p = fnn.activations.softmax(logits / temperature)
    fnn.plot.probabilities(p, names=names, top=6, ax=ax)
    ax.set(title=f"T = {temperature}", xlabel="«probability|probabilidad»")
# %% [markdown] en
# ![The six likeliest next characters at three temperatures: one dominates at 0.3, less so at 2](09_sequences.png)
#
# The same prediction at three temperatures (␣ is a space). At 0.3 the favourite nearly always wins; at 2 the model
# guesses wildly.
#
# [Notebook 3](../../examples/notebooks/03_text_lstm.en.ipynb) trains on a whole book, and [generate
# text](../how-to/text.md) has more options. The vanishing gradient, which the LSTM was made for, can be seen in [the
# playground](../playground.md): `python -m fnn.playground --lesson sigmoid-relu`.
#
# ## Exercises
# %% [markdown] es
# ![Los seis caracteres más probables a tres temperaturas: a 0.3 domina una barra, a 2 se parecen](09_secuencias.png)
#
# La misma predicción a tres temperaturas (␣ es un espacio). A 0,3 gana casi siempre el favorito; a 2, el modelo
# apuesta a lo loco.
#
# El [cuaderno 3](../../../examples/notebooks/03_texto_lstm.es.ipynb) entrena con un libro entero, y [*generate
# text*](../../how-to/text.md) (en inglés) explica más opciones. El gradiente que se desvanece, motivo de la LSTM, se
# ve en [el *playground*](../playground.md): `python -m fnn.playground --lesson sigmoid-relu`.
#
# ## Ejercicios
# %% [markdown] en
# **Exercise 1.** How many parameters does an LSTM with $n$ units have on inputs of size $m$? Check with 48 units.
# %% [markdown] es
# **Ejercicio 1.** ¿Cuántos parámetros tiene una LSTM con $n$ unidades sobre entradas de tamaño $m$? Comprueba con 48.
# %% [markdown] en
# The three gates and $g$ each have $n$ units, with $m$ weights for the input, $n$ for the state and a bias:
# $4 n (m + n + 1)$.
# %% [markdown] es
# Las tres puertas y $g$ tienen $n$ unidades cada una, con $m$ pesos para la entrada, $n$ para el estado y un sesgo:
# $4 n (m + n + 1)$.
# %%
count = sum(leaf.size for leaf in jax.tree.leaves(ts.params["lstm"]))
print(count == 4 * 48 * (symbols + 48 + 1))
# %% [markdown] en
# **Exercise 2.** Write one step of an LSTM with `jnp` and compare it with `fnn.lstm_cell`.
# %% [markdown] es
# **Ejercicio 2.** Escribe un paso de una LSTM con `jnp` y compáralo con `fnn.lstm_cell`.
# %%
params = fnn.lstm_init(jax.random.key(0), 3, 4)
carry = fnn.LSTMCarry(
    h=np.full((1, 4), 0.1, "float32"), c=np.full((1, 4), 0.2, "float32")
)
inputs = np.ones((1, 3), "float32")

sums = inputs @ params["kernel"] + carry.h @ params["recurrent_kernel"] + params["bias"]
i, f, g, o = np.split(sums, 4, axis=-1)
sigmoid = fnn.activations.sigmoid
c = sigmoid(f) * carry.c + sigmoid(i) * np.tanh(g)
h = sigmoid(o) * np.tanh(c)
new, _ = fnn.lstm_cell(params, carry, inputs)
print(np.allclose(new.h, h, atol=1e-6), np.allclose(new.c, c, atol=1e-6))
# %% [markdown] en
# **Exercise 3.** Cover the past: how sure is the trained model of the next character if it sees only the last one?
# %% [markdown] es
# **Ejercicio 3.** Tapa el pasado: ¿qué seguridad tiene el modelo entrenado en el carácter siguiente si solo ve el
# último?
# %%
whole, last = fnn.predict(task, ts, x), fnn.predict(task, ts, x[:, -1:])
for name, scores in (("12", whole), ("1", last)):
    right = float((scores.argmax(-1) == y).mean())
    print(name, right > 0.9)
# %% [markdown] en
# Most letters of the text are followed by different ones in different places; only the memory tells them apart.
# %% [markdown] es
# En distintos lugares del texto, a una misma letra le siguen letras distintas; solo la memoria las distingue.
