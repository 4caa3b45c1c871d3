/** Every text of the page, in English and in Spanish. */
import { PANEL_WORDS } from "./panel_words.js";

/** @type {Object<string, [string, string]>} */
export const WORDS = {
  // The frame of the page.
  playground: ["playground", "playground"],
  skip: ["Skip to the network", "Ir a la red"],
  tools: ["Tools", "Herramientas"],
  lesson: ["Lesson", "Lección"],
  no_lesson: ["Free play", "Juego libre"],
  share: ["Share", "Compartir"],
  picture: ["Save picture", "Guardar imagen"],
  record: ["Record", "Grabar"],
  record_stop: ["Stop recording", "Parar grabación"],
  language: ["Language", "Idioma"],
  theme: ["Dark or light", "Oscuro o claro"],
  controls: ["Controls", "Controles"],
  panels: ["More about this run", "Más sobre esta ejecución"],
  keys: [
    "Keys: space plays and pauses, S steps one epoch, R resets, arrow keys move the focused slider.",
    "Teclas: espacio entrena y pausa, S avanza una época, R reinicia, las flechas mueven el control enfocado.",
  ],
  close: ["Close", "Cerrar"],
  clear: ["Clear", "Borrar todo"],
  copy: ["Copy", "Copiar"],
  copied: ["Copied", "Copiado"],
  save: ["Save", "Guardar"],
  reload: ["Reload the page", "Recargar la página"],
  connection_lost: [
    "The connection to the server is lost. Start it again with: python -m fnn.playground",
    "Se perdió la conexión con el servidor. Inícialo de nuevo con: python -m fnn.playground",
  ],

  // The bar on top.
  play: ["Play", "Entrenar"],
  play_hint: ["Play or pause (space)", "Entrenar o pausar (espacio)"],
  pause: ["Pause", "Pausar"],
  step: ["Step one epoch", "Avanzar una época"],
  step_hint: ["Step one epoch (S)", "Avanzar una época (S)"],
  reset: ["Reset", "Reiniciar"],
  reset_hint: ["Back to epoch 0 (R)", "Volver a la época 0 (R)"],
  preparing: ["preparing…", "preparando…"],
  epoch: ["Epoch", "Época"],
  problem_type: ["Model", "Modelo"],
  kind_network: ["Neural network", "Red neuronal"],
  kind_perceptron: ["Perceptron", "Perceptrón"],
  kind_formula: ["Logic formula", "Fórmula lógica"],
  optimizer: ["Optimizer", "Optimizador"],
  learning_rate: ["Learning rate", "Tasa de aprendizaje"],
  activation: ["Activation", "Activación"],
  mixed: ["mixed", "varias"],
  penalty: ["Regularization", "Regularización"],
  penalty_rate: ["Regularization rate", "Tasa de regularización"],
  l1: ["L1", "L1"],
  l2: ["L2", "L2"],
  none: ["none", "ninguna"],
  more: ["More settings", "Más ajustes"],
  more_settings: ["More settings", "Más ajustes"],
  batch_size: ["Batch size", "Tamaño del lote"],
  initializer: ["Initializer", "Inicializador"],
  seed: ["Seed", "Semilla"],
  new_seed: ["Next seed", "Otra semilla"],
  speed: ["Epochs per frame", "Épocas por fotograma"],

  // Time travel.
  timeline: ["Time travel", "Viaje en el tiempo"],
  time_travel: ["Time travel", "Viaje en el tiempo"],
  time_now: ["epoch {epoch}", "época {epoch}"],
  time_back: [
    "epoch {epoch} of {reached}; training goes on from here",
    "época {epoch} de {reached}; se sigue desde aquí",
  ],

  // Data.
  data: ["Data", "Datos"],
  data_sets: ["Data set", "Conjunto de datos"],
  data_circles: ["Circles", "Círculos"],
  data_xor: ["XOR", "XOR"],
  data_gaussians: ["Gaussians", "Gaussianas"],
  data_spiral: ["Spiral", "Espiral"],
  data_plane: ["Plane", "Plano"],
  data_multi_gaussian: ["Hills", "Colinas"],
  data_points: ["Draw", "Dibujar"],
  data_csv: ["CSV file", "Archivo CSV"],
  data_digits: ["Digits", "Dígitos"],
  data_mnist: ["Digits (MNIST)", "Dígitos (MNIST)"],
  train_ratio: ["Training share", "Entrenamiento"],
  noise: ["Noise", "Ruido"],
  image_size: ["Images", "Imágenes"],
  images_digits: ["8 × 8, scikit-learn", "8 × 8 de scikit-learn"],
  images_mnist: ["14 × 14, MNIST", "14 × 14 de MNIST"],
  mnist_absent: [
    "MNIST is not on this machine, so these are the digits of scikit-learn, 8 × 8. For 14 × 14, set FNN_DATA to your MNIST folder and restart the server.",
    "MNIST no está en esta máquina; estos son los dígitos de scikit-learn, de 8 × 8. Para 14 × 14, indica en FNN_DATA la carpeta de MNIST y reinicia el servidor.",
  ],
  rows: ["Rows", "Filas"],
  regenerate: ["New data", "Datos nuevos"],
  csv_file: ["CSV file", "Archivo CSV"],
  csv_choose: ["Choose a CSV file", "Elegir un archivo CSV"],
  csv_note: [
    "Drop a file anywhere on the page, or choose one. The last column, or one named y, label, target or class, is the target.",
    "Suelta un archivo en la página o elige uno. La última columna, o una llamada y, label, target o class, es el objetivo.",
  ],
  csv_read: [
    "{rows} {rows|line|lines}, {columns} {columns|input|inputs}",
    "{rows} {rows|línea|líneas}, {columns} {columns|entrada|entradas}",
  ],
  csv_large: [
    "The file has {size} kB; at most {most} kB can be read.",
    "El archivo tiene {size} kB; se pueden leer {most} kB como máximo.",
  ],
  draw_with: ["Draw with", "Dibujar con"],
  class_a: ["class 0", "clase 0"],
  class_b: ["class 1", "clase 1"],
  class_c: ["class 2", "clase 2"],
  erase: ["eraser", "goma"],
  points_note: [
    "Draw on the output map. With keys: arrows move, Enter adds.",
    "Dibuja en el mapa de salida. Con teclas: las flechas mueven, Intro añade.",
  ],
  points_count: ["{count} {count|point|points}", "{count} {count|punto|puntos}"],
  pad_label: [
    "Map on which points are drawn. Arrow keys move the cross, Enter adds a point.",
    "Mapa donde se dibujan puntos. Las flechas mueven la cruz, Intro añade un punto.",
  ],

  // Classes of the data sets, as the server names them.
  "class:ring": ["ring", "anillo"],
  "class:disc": ["disc", "disco"],
  "class:different signs": ["different signs", "signos distintos"],
  "class:same sign": ["same sign", "mismo signo"],
  "class:around (-2, -2)": ["around (−2, −2)", "en torno a (−2, −2)"],
  "class:around (2, 2)": ["around (2, 2)", "en torno a (2, 2)"],
  "class:arm 0": ["arm 0", "brazo 0"],
  "class:arm 1": ["arm 1", "brazo 1"],

  // The network.
  network: ["Network", "Red"],
  features: ["Features", "Características"],
  pixels: ["Pixels", "Píxeles"],
  pixels_label: ["Strength of the weights that leave each pixel", "Fuerza de los pesos que salen de cada píxel"],
  pixel: ["pixel {number}", "píxel {number}"],
  feature_label: ["Feature {name}", "Característica {name}"],
  one_feature: ["A network needs at least one feature.", "Una red necesita al menos una característica."],
  hidden_layers: ["{count} hidden {count|layer|layers}", "{count} {count|capa oculta|capas ocultas}"],
  add_layer: ["Add a layer", "Añadir una capa"],
  remove_layer: ["Remove the last layer", "Quitar la última capa"],
  more_units: ["One more unit in layer {layer}", "Una unidad más en la capa {layer}"],
  fewer_units: ["One unit fewer in layer {layer}", "Una unidad menos en la capa {layer}"],
  activation_of: ["Activation of layer {layer}", "Activación de la capa {layer}"],
  options: ["options", "opciones"],
  options_of: ["Units, dropout and BatchNorm of layer {layer}", "Unidades, dropout y BatchNorm de la capa {layer}"],
  units: ["Units", "Unidades"],
  dropout: ["Dropout", "Dropout"],
  dropout_short: ["drop {rate}", "drop {rate}"],
  batch_norm: ["BatchNorm", "BatchNorm"],
  layer: ["Layer {layer}", "Capa {layer}"],
  layers: ["Hidden layers", "Capas ocultas"],
  unit_label: ["Layer {layer}, unit {unit}", "Capa {layer}, unidad {unit}"],
  unit_hint: [
    "Point to see this map large; click for its weights",
    "Señala para ver este mapa en grande; pulsa para ver sus pesos",
  ],
  output_label: ["Output {unit}", "Salida {unit}"],
  weight: ["Weight", "Peso"],
  bias: ["Bias", "Sesgo"],
  number_wanted: ["Type a number from {low} to {high}.", "Escribe un número de {low} a {high}."],
  more_weights: ["and {count} more {count|weight|weights}", "y {count} {count|peso|pesos} más"],
  network_size: [
    "{units} hidden {units|unit|units}, {parameters} {parameters|parameter|parameters}",
    "{units} {units|unidad oculta|unidades ocultas}, {parameters} {parameters|parámetro|parámetros}",
  ],
  network_note: [
    "Lines are weights: blue and solid above zero, orange and dashed below. Hover to read one, click to change it. The small square is the bias.",
    "Las líneas son pesos: azul continua si es positivo, naranja discontinua si es negativo. Señala para leer uno, pulsa para cambiarlo. El cuadrito es el sesgo.",
  ],
  largest_weights: [
    "Of each layer, the {count} largest weights are drawn.",
    "De cada capa se dibujan los {count} pesos mayores.",
  ],

  // The output.
  output: ["Output", "Salida"],
  train_loss: ["Training loss", "Pérdida (entrenamiento)"],
  test_loss: ["Test loss", "Pérdida (prueba)"],
  train_mistakes: ["Training error", "Error de entrenamiento"],
  test_mistakes: ["Test error", "Error de prueba"],
  accuracy: ["{percent} right", "{percent} de aciertos"],
  loss_curves: ["Loss by epoch.", "Pérdida por época."],
  spoken: [
    "Epoch {epoch}: training loss {train}, test loss {test}.",
    "Época {epoch}: pérdida de entrenamiento {train}, de prueba {test}.",
  ],
  map_label: [
    "{name} over the square from −{range} to {range}: orange is low, blue is high.",
    "{name} en el cuadrado de −{range} a {range}: naranja es bajo, azul es alto.",
  ],
  show_test: ["Show test data", "Mostrar datos de prueba"],
  discretize: ["Discretize output", "Discretizar la salida"],
  run_name: ["Run {name}", "Ejecución {name}"],
  digit_note: ["Draw a digit; the network says what it sees.", "Dibuja un dígito; la red dice qué ve."],
  digit_seen: ["What the network gets:", "Lo que recibe la red:"],
  digit_pad: [
    "Field for drawing a digit. Arrow keys move, space paints.",
    "Campo para dibujar un dígito. Las flechas mueven, espacio pinta.",
  ],
  digit_bars: ["Probability of each digit", "Probabilidad de cada dígito"],
  digit_answer: ["The network sees: {name}", "La red ve: {name}"],
  ...PANEL_WORDS,
};

/** @type {"en"|"es"} */
let current = "en";

export const language = () => current;

/** @param {string} name */
export function setLanguage(name) {
  current = name === "es" ? "es" : "en";
}

/** The name of a class: one's own as it is. @param {string} name */
export const className = (name) => (`class:${name}` in WORDS ? word(`class:${name}`) : name);

/** A number as text, with the decimal mark of the language. @param {string|number} text */
export const number = (text) => (current === "es" ? String(text).replace(/(\d)\.(\d)/g, "$1,$2") : String(text));

/** A share in percent, with one decimal where needed; only a whole one is 100 %. @param {number} share */
export function percent(share) {
  const shown = share >= 1 ? 100 : Math.min(99.9, Math.round(1000 * share) / 10);
  return `${number(shown)} %`;
}

/**
 * A text in the language of the page: {name} stands for a value, {name|point|points} for the form that goes with it.
 * @param {string} key @param {Object<string, any>} [values]
 */
export function word(key, values = {}) {
  const found = WORDS[key];
  if (!found) return key;
  return found[current === "es" ? 1 : 0].replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (_, name, one, many) => {
    if (many !== undefined) return values[name] === 1 ? one : many;
    return typeof values[name] === "number" ? number(values[name]) : String(values[name] ?? "");
  });
}
