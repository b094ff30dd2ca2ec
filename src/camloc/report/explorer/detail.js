"use strict";
// One pair at full size: maps and boxes, the most likely classes, its IoU against the CAM threshold.

const PLOT = { width: 300, height: 110, left: 30, right: 6, top: 6, bottom: 18 };

camloc.Detail = class {
  constructor(grid, changed) {
    this.grid = grid;
    this.changed = changed;
    this.dialog = camloc.find("detail");
    camloc.find("close").onclick = () => this.dialog.close();
    camloc.find("previous").onclick = () => this.step(-1);
    camloc.find("next").onclick = () => this.step(1);
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    addEventListener("resize", () => { if (this.dialog.open) this.draw(); });
  }

  get isOpen() { return this.dialog.open; }

  open(place) {
    this.grid.go(place);
    if (!this.dialog.open) this.dialog.showModal();
    this.draw();
  }

  step(by) {
    const place = camloc.state.cursor + by;
    if (place >= 0 && place < camloc.state.list.length) this.open(place);
  }

  draw() {
    const { data, state } = camloc, row = state.list[state.cursor];
    if (row === undefined) return this.dialog.close();
    const image = data.pair_image[row], runs = camloc.shownRuns(), stage = camloc.find("stage"), facts = camloc.find("facts");
    camloc.find("detail-title").textContent = camloc.className(data.pair_class[row]);
    camloc.find("detail-name").textContent = data.names[image];
    camloc.find("place").textContent = `${(state.cursor + 1).toLocaleString("en")} of ${state.list.length.toLocaleString("en")}`;
    camloc.find("previous").disabled = state.cursor === 0;
    camloc.find("next").disabled = state.cursor === state.list.length - 1;
    stage.replaceChildren();
    facts.replaceChildren();
    this.parts = runs.map((run) => {
      const view = new camloc.View(run), figure = camloc.element("figure");
      if (runs.length > 1) figure.append(camloc.element("figcaption", "", data.runs[run].label));
      figure.append(view.root);
      stage.append(figure);
      return { run, view, values: this.column(run, row, facts, runs.length > 1) };
    });
    const room = stage.getBoundingClientRect(), narrow = innerWidth < 760;
    const width = narrow ? room.width / runs.length - 8 : (room.width - 12 * (runs.length - 1)) / runs.length;
    const height = narrow ? 0.5 * innerHeight : Math.max(room.height - (runs.length > 1 ? 34 : 8), 120);
    for (const { view } of this.parts) view.show(row, width, height, Math.min(1, 640 / Math.max(width, height)));
    this.move();
  }

  // Facts on a pair under one run; returns what moves with the threshold.
  column(run, row, facts, named) {
    const { data } = camloc, of = data.runs[run], image = data.pair_image[row], part = camloc.element("section");
    if (named) part.append(camloc.element("h3", "", of.label));
    const list = camloc.element("dl"), values = {};
    const fact = (name, text) => {
      const value = camloc.element("dd", "", text);
      list.append(camloc.element("dt", "", name), value);
      return value;
    };
    const isBare = camloc.isBare(row);
    if (of.cause && !isBare) [values.cause, values.iou] = [fact("outcome", ""), fact("IoU", "")];
    const probability = camloc.probability(of, row);
    if (isBare && probability !== null) fact("predicted", camloc.probableClass(of, row));
    if (probability !== null) fact("probability", camloc.percent(probability, 1));
    if (of.rank[row] >= 0) fact("rank", String(of.rank[row] + 1));
    if (of.thresholds.length) part.append(this.slider(run, values));
    part.append(list);
    const likely = camloc.element("ol", "likely");
    part.append(likely);
    const fill = () => {
      const details = camloc.details(image, fill);
      likely.replaceChildren(...(details?.runs[run].ranked ?? []).map(([index, share]) => {
        const line = camloc.element("li", index === data.pair_class[row] ? "right" : "");
        line.style.setProperty("--share", share);
        line.append(camloc.element("bdi", "", camloc.className(index)), camloc.element("b", "", camloc.percent(share, 1)));
        return line;
      }));
    };
    fill();
    if (of.iou && of.thresholds.length > 1 && camloc.iou(of, row, 0) !== null) part.append((values.plot = this.plot(of, row)).root);
    facts.append(part);
    return values;
  }

  slider(run, values) {
    const label = camloc.element("label", "slide", "CAM threshold ");
    values.threshold = camloc.element("output");
    values.slider = camloc.element("input");
    Object.assign(values.slider, { type: "range", min: 0, max: camloc.data.runs[run].steps - 1, step: 1 });
    values.slider.addEventListener("input", () => {
      camloc.state.steps[run] = Number(values.slider.value);
      this.changed("threshold");
    });
    label.append(values.threshold, values.slider);
    return label;
  }

  plot(of, row) {
    const { width, height, left, right, top, bottom } = PLOT, root = camloc.svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve" });
    const ends = [of.thresholds[0], of.thresholds.at(-1)];
    const x = (step) => left + ((width - left - right) * (of.thresholds[step] - ends[0])) / (ends[1] - ends[0] || 1);
    const y = (iou) => top + (height - top - bottom) * (1 - iou);
    for (const iou of [0, of.iou_threshold, 1]) {
      root.append(camloc.svg("line", { x1: left, x2: width - right, y1: y(iou), y2: y(iou), class: iou === of.iou_threshold ? "limit" : "gridline" }));
      const text = camloc.svg("text", { x: left - 5, y: y(iou) + 3.5, "text-anchor": "end" });
      text.textContent = String(iou);
      root.append(text);
    }
    const points = of.thresholds.map((_, step) => `${x(step)},${y(camloc.iou(of, row, step))}`).join(" ");
    const marker = camloc.svg("line", { y1: top, y2: height - bottom, class: "marker" }), dot = camloc.svg("circle", { r: 3.5, class: "dot curve-0" });
    const name = camloc.svg("text", { x: width - right, y: height - 4, "text-anchor": "end" });
    name.textContent = "IoU against the CAM threshold";
    root.append(camloc.svg("polyline", { points, class: "line curve-0" }), marker, dot, name);
    return { root, move: (step) => {
      marker.setAttribute("x1", x(step));
      marker.setAttribute("x2", x(step));
      dot.setAttribute("cx", x(step));
      dot.setAttribute("cy", y(camloc.iou(of, row, step)));
    } };
  }

  // The CAM threshold has moved.
  move() {
    if (!this.isOpen) return;
    const { data, state } = camloc, row = state.list[state.cursor];
    for (const { run, view, values } of this.parts) {
      const of = data.runs[run], step = camloc.stepOf(run), cause = camloc.cause(of, row, step);
      view.move();
      if (values.cause) {
        values.cause.textContent = cause === camloc.UNKNOWN ? "no true box is known" : data.causes[cause];
        values.cause.className = `cause-${cause}`;
        values.iou.textContent = camloc.iouText(camloc.iou(of, row, step));
      }
      if (values.threshold) {
        values.threshold.textContent = String(Number(of.thresholds[step].toFixed(4)));
        values.slider.value = step;
      }
      values.plot?.move(step);
    }
  }

  refill() {
    if (this.isOpen) for (const { view } of this.parts) view.fill();
  }
};
