"use strict";
// One thumbnail with its heatmap and boxes, small in the grid and large in the detail view.

const SVG = "http://www.w3.org/2000/svg";

camloc.element = (tag, className = "", text = null) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
};
camloc.svg = (tag, attributes = {}) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

// Interpolate a map bilinearly between its cells' centres and colour it, in that order; below half it fades out.
camloc.paint = (canvas, map, [rows, columns], width, height) => {
  const context = canvas.getContext("2d"), image = context.createImageData((canvas.width = width), (canvas.height = height));
  const { colours } = camloc.data, out = image.data;
  const along = (length, cells) => Array.from({ length }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * cells) / length - 0.5, 0), cells - 1), low = Math.floor(at);
    return [low, Math.min(low + 1, cells - 1), at - low];
  });
  const xs = along(width, columns);
  let place = 0;
  for (const [y0, y1, fy] of along(height, rows)) {
    const top = y0 * columns, bottom = y1 * columns;
    for (const [x0, x1, fx] of xs) {
      const upper = map[top + x0] + fx * (map[top + x1] - map[top + x0]);
      const lower = map[bottom + x0] + fx * (map[bottom + x1] - map[bottom + x0]);
      const score = Math.round(upper + fy * (lower - upper)), colour = 3 * score;
      out[place++] = colours[colour];
      out[place++] = colours[colour + 1];
      out[place++] = colours[colour + 2];
      out[place++] = Math.min(2 * score, 255);
    }
  }
  context.putImageData(image, 0, 0);
};

camloc.View = class {
  constructor(run) {
    this.run = run;
    this.root = camloc.element("div", "view");
    this.image = camloc.element("img");
    this.image.alt = "";
    this.image.decoding = "async";
    this.image.draggable = false;
    this.heat = camloc.element("canvas", "heat");
    this.boxes = camloc.svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none" });
    this.missing = camloc.element("span", "missing");
    this.root.append(this.image, this.heat, this.boxes, this.missing);
  }

  // Show a pair within so many pixels; `fineness`: heatmap pixels for each of the thumbnail's on the screen.
  show(row, maxWidth, maxHeight, fineness = 1) {
    const { data } = camloc, image = data.pair_image[row], [height, width] = data.sizes.subarray(2 * image, 2 * image + 2);
    const scale = Math.min(maxWidth / width, maxHeight / height);
    this.row = row;
    this.width = Math.max(1, Math.round(width * scale));
    this.height = Math.max(1, Math.round(height * scale));
    this.fineness = fineness;
    this.root.style.width = `${this.width}px`;
    this.root.style.height = `${this.height}px`;
    const source = camloc.thumbnail(image);
    if (this.image.getAttribute("src") !== source) this.image.src = source;
    this.fill();
  }

  // Draw what the details say, now or when they are there.
  fill() {
    const { data, state } = camloc, row = this.row, image = data.pair_image[row];
    const details = camloc.details(image, () => { if (this.row === row && this.root.isConnected) this.fill(); });
    this.packed = null;
    this.truth = [];
    this.missing.textContent = "";
    if (details) {
      const ofRun = details.runs[this.run], predicted = data.runs[this.run].predicted[image];
      const isBare = camloc.isBare(row);
      this.truth = isBare ? [] : camloc.trueBoxes(details.gt[data.place[row]]);
      this.packed = state.view === "true" && !isBare ? ofRun.pairs[data.place[row]]
        : (ofRun.pairs.find((pair) => pair.class === predicted) ?? ofRun.predicted);
      if (!this.packed && predicted >= 0) this.missing.textContent = "not mapped";
    }
    const map = this.packed?.map;
    this.heat.hidden = !map;
    if (map) {
      const bytes = (this.packed.mapBytes ??= camloc.bytes(map));
      camloc.paint(this.heat, bytes, this.packed.map_size, Math.ceil(this.width * this.fineness), Math.ceil(this.height * this.fineness));
    }
    this.move();
  }

  // Draw the boxes at the CAM threshold that is set.
  move() {
    const box = this.packed && camloc.boxAt(this.packed, camloc.stepOf(this.run));
    const wanted = [...this.truth.map((one) => ["truth", one]), ...(box ? [["box", box]] : [])];
    const rects = this.boxes.children;
    while (rects.length > 2 * wanted.length) this.boxes.lastChild.remove();
    while (rects.length < 2 * wanted.length) this.boxes.append(camloc.svg("rect"));
    wanted.forEach(([kind, [x0, y0, x1, y1]], i) => {
      for (const [rect, name] of [[rects[2 * i], `${kind} halo`], [rects[2 * i + 1], kind]]) {
        rect.setAttribute("class", name);
        rect.setAttribute("x", x0);
        rect.setAttribute("y", y0);
        rect.setAttribute("width", x1 - x0);
        rect.setAttribute("height", y1 - y0);
      }
    });
  }
};

camloc.percent = (fraction, digits = 0) => (fraction === null ? "–" : `${(100 * fraction).toFixed(digits)}%`);
// Rounded down, so that a miss at 0.4999 is not shown as 0.50.
camloc.iouText = (iou) => (iou === null ? "–" : (Math.floor(100 * iou + 1e-9) / 100).toFixed(2));
