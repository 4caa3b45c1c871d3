/** The texts of the panels, in English and in Spanish. */

/** @type {Object<string, [string, string]>} */
export const PANEL_WORDS = {
  // The perceptron and formulas.
  formula: ["Formula", "Fórmula"],
  formula_note: [
    "McCulloch and Pitts (1943): each unit fires if the weighted sum of its inputs reaches its threshold. Press an input to change it.",
    "McCulloch y Pitts (1943): cada unidad se activa si la suma ponderada de sus entradas llega a su umbral. Pulsa una entrada para cambiarla.",
  ],
  formula_said: [
    "The output is {value}, computed by {units} threshold {units|unit|units}.",
    "La salida es {value}, calculada por {units} {units|unidad|unidades} de umbral.",
  ],
  threshold: ["fires at ≥ {value}", "se activa con ≥ {value}"],
  bit_label: ["Input {name} is {value}", "La entrada {name} vale {value}"],
  rule_note: [
    "Rosenblatt (1958): only a row on the wrong side changes the weights; the line moves towards it. One step is one correction.",
    "Rosenblatt (1958): solo una fila en el lado equivocado cambia los pesos; la recta se mueve hacia ella. Un paso es una corrección.",
  ],
  perceptron_said: [
    "Line: {line}. Corrections so far: {corrections}.",
    "Recta: {line}. Correcciones hasta ahora: {corrections}.",
  ],
  perceptron_done: [
    "Every training row is right: the rule ends.",
    "Todas las filas de entrenamiento son correctas: la regla termina.",
  ],
  perceptron_never: [
    "No line separates these classes, so the rule never ends.",
    "Ninguna recta separa estas clases, así que la regla nunca termina.",
  ],

  // Layers.
  panel_health: ["Layers", "Capas"],
  layer_column: ["Layer", "Capa"],
  layer_column_hint: ["From the input to the output", "De la entrada a la salida"],
  gradient: ["Gradient", "Gradiente"],
  gradient_hint: [
    "Root mean square of the loss's gradient at the layer's output",
    "Media cuadrática del gradiente de la pérdida en la salida de la capa",
  ],
  dead: ["Dead units", "Unidades muertas"],
  dead_hint: [
    "Units whose output is zero for every training row",
    "Unidades cuya salida es cero en todas las filas de entrenamiento",
  ],
  saturated: ["Saturated", "Saturadas"],
  saturated_hint: ["Outputs where the activation is flat", "Salidas donde la activación es plana"],
  health_note: [
    "The loss reaches a layer through its gradient. Bars are on a logarithmic scale, from a millionth to one: where they shrink from layer to layer, the gradient vanishes.",
    "La pérdida llega a una capa por su gradiente. Las barras tienen escala logarítmica, de una millonésima a uno: si encogen de capa en capa, el gradiente se desvanece.",
  ],
  gradient_chart: ["Gradient by epoch", "Gradiente por época"],

  // Many at once.
  panel_many: ["Many at once", "Muchas a la vez"],
  many_note: [
    "Chance decides where training starts and which rows come first. Train the same network many times, as one program, and see how much its boundary varies.",
    "El azar decide dónde empieza el entrenamiento y qué filas van primero. Entrena la misma red muchas veces, como un solo programa, y mira cuánto varía su frontera.",
  ],
  many_over: ["Vary", "Variar"],
  over_seed: ["the seed", "la semilla"],
  over_rate: ["the learning rate", "la tasa de aprendizaje"],
  many_count: ["Networks", "Redes"],
  many_epochs: ["Epochs", "Épocas"],
  many_start: ["Train them", "Entrenarlas"],
  many_progress: ["Progress", "Progreso"],
  many_chart: ["Test loss of each by epoch", "Pérdida de prueba de cada una por época"],
  many_mean: ["Mean of the maps", "Media de los mapas"],
  many_spread: ["Spread: where they disagree", "Dispersión: dónde discrepan"],
  many_said: [
    "{count} networks after {epoch} {epoch|epoch|epochs}: test loss from {low} to {high}.",
    "{count} redes tras {epoch} {epoch|época|épocas}: pérdida de prueba de {low} a {high}.",
  ],
  member_seed: ["seed {value}", "semilla {value}"],
  member_rate: ["rate {value}", "tasa {value}"],

  // The loss surface.
  panel_surface: ["Loss surface", "Superficie de pérdida"],
  surface_note: [
    "The loss depends on every weight. This slice shows it along the two directions in which the weights moved most so far, with the optimizer's path on it.",
    "La pérdida depende de todos los pesos. Este corte la muestra en las dos direcciones en que más se movieron los pesos hasta ahora, con el camino del optimizador.",
  ],
  surface_start: ["Draw the surface", "Dibujar la superficie"],
  surface_label: [
    "Slice of the loss surface with the optimizer's path",
    "Corte de la superficie de pérdida con el camino del optimizador",
  ],
  surface_low: ["loss {loss}", "pérdida {loss}"],
  surface_said: [
    "The slice explains {first} % + {second} % of the path. The loss on it goes from {low} to {high}.",
    "El corte explica {first} % + {second} % del camino. La pérdida en él va de {low} a {high}.",
  ],
  surface_start_mark: ["White circle: epoch 0", "Círculo blanco: época 0"],
  surface_end_mark: ["Orange square: the current epoch", "Cuadrado naranja: la época actual"],
  surface_axes: [
    "Across: first principal direction of the path; up: the second",
    "Horizontal: primera dirección principal del camino; vertical: la segunda",
  ],

  // Two runs.
  panel_compare: ["Two runs", "Dos ejecuciones"],
  compare_note: [
    "A second run begins as a copy of the first. Both play, step and travel in time together; the controls change the one chosen here.",
    "La segunda ejecución empieza como copia de la primera. Las dos entrenan, avanzan y viajan en el tiempo juntas; los controles cambian la elegida aquí.",
  ],
  second_run_add: ["Add a second run", "Añadir una segunda ejecución"],
  second_run_remove: ["End the second run", "Terminar la segunda ejecución"],
  controls_change: ["Controls change", "Los controles cambian"],
  setting: ["Setting", "Ajuste"],

  // Code.
  panel_code: ["Code", "Código"],
  code_note: [
    "The fnn script trains this network with everything changed on the way, and ends with the loss shown above, to the last digit. The Keras script trains the same network.",
    "El programa de fnn entrena esta red con todo lo que cambió por el camino y termina con la pérdida mostrada arriba, hasta la última cifra. El de Keras entrena la misma red.",
  ],
  code_refresh: ["Write it for the current epoch", "Escribirlo para la época actual"],
  code_fnn: ["Script with fnn", "Programa con fnn"],
  code_keras: ["Script with Keras", "Programa con Keras"],

  // Sharing and lessons.
  share_note: [
    "This address holds all settings. Whoever opens it in a playground sees the same run.",
    "Esta dirección contiene todos los ajustes. Quien la abra en un playground ve la misma ejecución.",
  ],
  share_long: [
    "Your data are too large for an address. Share the file itself.",
    "Tus datos no caben en una dirección. Comparte el archivo.",
  ],
  share_address: ["Address", "Dirección"],
  address_broken: [
    "The settings in the address cannot be read; the usual ones are used.",
    "No se pueden leer los ajustes de la dirección; se usan los habituales.",
  ],
  lesson_of: ["{number} of {count}", "{number} de {count}"],
  lesson_before: ["Previous", "Anterior"],
  lesson_next: ["Next", "Siguiente"],
};
