"use strict";
// What the data files beside the page call, and what they brought: columns of all pairs, details of some images.

const camloc = { data: null };

camloc.UNKNOWN = 255; // cause of a pair without true boxes
camloc.UNKNOWN_IOU = 65535;
const IOU_STEPS = 10000, BOX_STEPS = 50000, KEPT_CHUNKS = 256;

camloc.bytes = (text) => {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
};
const array = (Kind, text) => new Kind(camloc.bytes(text).buffer); // little-endian, as all that runs browsers is

// Names are other people's: what would break a line or turn its direction is shown as what it is.
camloc.plain = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu,
  (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

camloc.index = (raw) => {
  camloc.data = {
    ...raw,
    classes: raw.classes.map(camloc.plain), names: raw.names.map(camloc.plain), rule: camloc.plain(raw.rule),
    colours: camloc.bytes(raw.colours), positions: array(Int32Array, raw.positions), sizes: array(Uint16Array, raw.sizes),
    pair_image: array(Int32Array, raw.pair_image), pair_class: array(Int32Array, raw.pair_class),
    runs: raw.runs.map((run) => ({
      ...run, label: camloc.plain(run.label), steps: run.thresholds.length || 1, errors: Object.entries(run.errors),
      probability: array(Float32Array, run.probability), rank: array(Int32Array, run.rank),
      predicted: array(Int32Array, run.predicted),
      iou: run.iou && array(Uint16Array, run.iou), cause: run.cause && camloc.bytes(run.cause),
    })),
  };
  let image = -1, first = 0; // place of each pair within its image
  camloc.data.place = camloc.data.pair_image.map((of, row) => {
    if (of !== image) [image, first] = [of, row];
    return row - first;
  });
};

// IoU of a pair at a CAM threshold, rounded down; null where no true box is known.
camloc.iou = (run, row, step) => {
  const code = run.iou ? run.iou[row * run.steps + step] : camloc.UNKNOWN_IOU;
  return code === camloc.UNKNOWN_IOU ? null : code / IOU_STEPS;
};
camloc.cause = (run, row, step) => (run.cause ? run.cause[row * run.steps + step] : camloc.UNKNOWN);
camloc.probability = (run, row) => (Number.isNaN(run.probability[row]) ? null : run.probability[row]);
camloc.hasTruth = () => camloc.data.runs.some((run) => run.iou_threshold !== null);
const NO_CLASS = -1; // of the row of an image without pairs
camloc.isBare = (row) => camloc.data.pair_class[row] === NO_CLASS;
camloc.className = (index) => camloc.data.classes[index]
  ?? (index !== NO_CLASS ? `class ${index}` : camloc.hasTruth() ? "no true class" : "nothing found");
// What a row's probability is of: its class, or the most likely one of an image without.
camloc.probableClass = (run, row) => camloc.className(camloc.isBare(row) ? run.predicted[camloc.data.pair_image[row]] : camloc.data.pair_class[row]);

const chunks = new Map(); // number -> details, the last used ones last
const waiting = new Map(); // number -> what to call

camloc.chunk = (number, images) => {
  chunks.set(number, images);
  if (chunks.size > KEPT_CHUNKS) chunks.delete(chunks.keys().next().value);
  for (const call of waiting.get(number) ?? []) call();
  waiting.delete(number);
};

// Details of an image; null while they are loaded, and `then` is called when they are there.
camloc.details = (image, then) => {
  const size = camloc.data.chunk_images, number = Math.floor(image / size), found = chunks.get(number);
  if (found) {
    chunks.delete(number);
    chunks.set(number, found);
    return found[image % size];
  }
  if (waiting.has(number)) {
    waiting.get(number).push(then);
    return null;
  }
  waiting.set(number, [then]);
  const script = document.createElement("script");
  script.src = `explorer/chunk_${number}.js`;
  script.onload = () => script.remove();
  script.onerror = () => {
    waiting.delete(number); // it may be there the next time
    script.remove();
  };
  document.head.append(script);
  return null;
};

camloc.boxAt = (packed, step) => {
  const all = (packed.decoded ??= array(Uint16Array, packed.boxes));
  const [x0, y0, x1, y1] = all.subarray(4 * step, 4 * step + 4);
  return x1 > x0 && y1 > y0 ? [x0, y0, x1, y1].map((side) => side / BOX_STEPS) : null;
};
camloc.trueBoxes = (text) => {
  const all = array(Uint16Array, text), boxes = [];
  for (let i = 0; i < all.length; i += 4) boxes.push([...all.subarray(i, i + 4)].map((side) => side / BOX_STEPS));
  return boxes;
};
camloc.thumbnail = (image) => `explorer/thumbnails/${String(camloc.data.positions[image]).padStart(8, "0")}.jpg`;
