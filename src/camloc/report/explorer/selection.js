"use strict";
// What is looked at: runs, CAM thresholds, class, filters and order; and the pairs that these leave, in their order.

camloc.state = {
  left: 0, right: null, // runs
  steps: [], // of each run: place of its CAM threshold
  view: "true", // or "predicted": whose map and box
  heatmap: true, opacity: 0.55, boxes: true, truth: true,
  text: "", class: "", causes: new Set(), agreement: "",
  iou: [0, 1], probability: [0, 1], sort: "split",
  list: [], cursor: 0, // rows of pairs, and which of them is looked at
};

camloc.shownRuns = () => (camloc.state.right === null ? [camloc.state.left] : [camloc.state.left, camloc.state.right]);
camloc.stepOf = (run) => camloc.state.steps[run];
camloc.reportedStep = (run) => camloc.data.runs[run].reported ?? 0;

const HIT = 0;
const AGREEMENT = {
  differ: (a, b) => a !== b, both: (a, b) => a && b, left: (a, b) => a && !b, right: (a, b) => b && !a,
  neither: (a, b) => !a && !b,
};

camloc.isHit = (run, row) => camloc.cause(camloc.data.runs[run], row, camloc.stepOf(run)) === HIT;

const within = (value, [low, high]) => value === null ? low <= 0 && high >= 1 : value >= low && value <= high;

// Whether a pair passes all filters but those named.
camloc.passes = (row, { causes = true } = {}) => {
  const { state, data } = camloc, run = data.runs[state.left], step = camloc.stepOf(state.left);
  if (state.class !== "" && data.pair_class[row] !== Number(state.class)) return false;
  if (causes && state.causes.size && !state.causes.has(camloc.cause(run, row, step))) return false;
  if (!within(camloc.iou(run, row, step), state.iou)) return false;
  if (!within(camloc.probability(run, row), state.probability)) return false;
  if (state.text) {
    const words = `${data.names[data.pair_image[row]]} ${camloc.className(data.pair_class[row])} ${camloc.probableClass(run, row)}`.toLowerCase();
    if (!words.includes(state.text)) return false;
  }
  if (state.right !== null && state.agreement) {
    if (camloc.isBare(row)) return false; // there is nothing to hit
    return AGREEMENT[state.agreement](camloc.isHit(state.left, row), camloc.isHit(state.right, row));
  }
  return true;
};

const byNumber = (value, sign) => (a, b) => {
  const [x, y] = [value(a), value(b)];
  if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last
  return sign * (x - y);
};

const orders = () => {
  const { state, data } = camloc, run = data.runs[state.left], step = camloc.stepOf(state.left);
  const iou = (row) => camloc.iou(run, row, step), probability = (row) => camloc.probability(run, row);
  const other = state.right === null ? null : data.runs[state.right];
  const gain = (row) => other && iou(row) !== null ? iou(row) - camloc.iou(other, row, camloc.stepOf(state.right)) : null;
  const name = (row) => data.names[data.pair_image[row]];
  return {
    iou_up: byNumber(iou, 1), iou_down: byNumber(iou, -1),
    probability_up: byNumber(probability, 1), probability_down: byNumber(probability, -1),
    gain_up: byNumber(gain, 1), gain_down: byNumber(gain, -1),
    class: (a, b) => camloc.className(data.pair_class[a]).localeCompare(camloc.className(data.pair_class[b])),
    name: (a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0),
  };
};

// Set `state.list`; the pair that was looked at stays so where it is still there.
camloc.select = () => {
  const { state, data } = camloc, before = state.list[state.cursor], list = [];
  for (let row = 0; row < data.pair_image.length; row++) if (camloc.passes(row)) list.push(row);
  if (state.sort !== "split") list.sort(orders()[state.sort]);
  state.list = list;
  state.cursor = Math.max(0, list.indexOf(before));
};

// How many of the shown pairs have each cause, whatever causes are chosen.
camloc.causeCounts = () => {
  const { state, data } = camloc, run = data.runs[state.left], counts = new Array(data.causes.length).fill(0);
  for (let row = 0; row < data.pair_image.length; row++) {
    const cause = camloc.cause(run, row, camloc.stepOf(state.left));
    if (cause !== camloc.UNKNOWN && camloc.passes(row, { causes: false })) counts[cause]++;
  }
  return counts;
};
