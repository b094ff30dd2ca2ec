"use strict";
// The controls beside the grid: the errors' curve with its threshold, what is drawn, filters, order.

camloc.find = (id) => document.getElementById(`explorer-${id}`);
const CURVE = { width: 300, height: 150, left: 30, right: 6, top: 8, bottom: 22 };

camloc.Panel = class {
  constructor(changed) {
    this.changed = changed; // is told "threshold", "drawing" or "selection"
    this.fillRuns();
    this.fillFilters();
    this.wire();
    this.build();
  }

  fillRuns() {
    const { data } = camloc, many = data.runs.length > 1;
    camloc.find("runs").hidden = !many;
    for (const [id, none] of [["left", false], ["right", true]]) {
      const select = camloc.find(id);
      if (none) select.add(new Option("none", ""));
      data.runs.forEach((run, i) => select.add(new Option(run.label, i)));
    }
    camloc.find("left").value = camloc.state.left;
    camloc.find("right").value = camloc.state.right ?? "";
  }

  fillFilters() {
    const { data } = camloc, classes = camloc.find("class"), present = [...new Set(data.pair_class)];
    const names = present.map((index) => [camloc.className(index), index]).sort(([a], [b]) => a.localeCompare(b));
    for (const [name, index] of names) classes.add(new Option(name, index));
    const hasTruth = data.runs.some((run) => run.iou), causes = camloc.find("causes");
    data.causes.forEach((name, cause) => {
      const chip = camloc.element("button", `chip cause-${cause}`);
      chip.type = "button";
      chip.dataset.cause = cause;
      chip.setAttribute("aria-pressed", "false");
      chip.append(camloc.element("i"), camloc.element("span", "", name), camloc.element("b"));
      chip.onclick = () => {
        const chosen = camloc.state.causes;
        if (!chosen.delete(cause)) chosen.add(cause);
        chip.setAttribute("aria-pressed", String(chosen.has(cause)));
        this.changed("selection");
      };
      causes.append(chip);
    });
    for (const one of document.querySelectorAll("#explore [data-needs-truth]")) one.hidden = !hasTruth;
    const hasPredictions = data.runs.some((run) => run.predicted.some((index) => index >= 0)) && hasTruth;
    camloc.find("view").hidden = !hasPredictions;
  }

  wire() {
    const { state } = camloc;
    const on = (id, event, call) => camloc.find(id).addEventListener(event, (e) => call(e.target));
    on("left", "change", (e) => this.setRuns(Number(e.value), state.right));
    on("right", "change", (e) => this.setRuns(state.left, e.value === "" ? null : Number(e.value)));
    on("text", "input", (e) => { state.text = e.value.trim().toLowerCase(); this.changed("selection"); });
    for (const id of ["class", "agreement", "sort"]) on(id, "change", (e) => { state[id] = e.value; this.changed("selection"); });
    for (const id of ["iou", "probability"]) {
      ["low", "high"].forEach((end, i) => on(`${id}-${end}`, "input", (e) => {
        state[id][i] = e.value === "" ? i : Number(e.value) / 100;
        this.changed("selection");
      }));
    }
    on("opacity", "input", (e) => { state.opacity = Number(e.value) / 100; this.changed("drawing"); });
    for (const id of ["heatmap", "boxes", "truth"]) on(id, "change", (e) => { state[id] = e.checked; this.changed("drawing"); });
    for (const one of document.getElementsByName("explorer-view")) {
      one.addEventListener("change", () => { state.view = one.value; this.changed("class"); });
    }
    on("reset", "click", () => this.clear());
    on("reported", "click", () => this.toReported());
  }

  setRuns(left, right) {
    Object.assign(camloc.state, { left, right });
    this.build();
    this.changed("runs");
  }

  clear() {
    Object.assign(camloc.state, { text: "", class: "", agreement: "", iou: [0, 1], probability: [0, 1] });
    camloc.state.causes.clear();
    for (const id of ["text", "class", "agreement", "iou-low", "iou-high", "probability-low", "probability-high"]) camloc.find(id).value = "";
    for (const chip of camloc.find("causes").children) chip.setAttribute("aria-pressed", "false");
    this.changed("selection");
  }

  toReported() {
    for (const run of camloc.shownRuns()) camloc.state.steps[run] = camloc.reportedStep(run);
    this.changed("threshold");
    this.changed("settled");
  }

  // Sliders and curves of the runs that are shown.
  build() {
    const box = camloc.find("thresholds"), runs = camloc.shownRuns();
    box.replaceChildren();
    this.sliders = runs.map((run, side) => {
      const { label, thresholds, steps } = camloc.data.runs[run], part = camloc.element("div", `threshold side-${side}`);
      const name = camloc.element("label"), slider = camloc.element("input"), value = camloc.element("output");
      if (runs.length > 1) part.append(camloc.element("p", "run", label));
      slider.type = "range";
      Object.assign(slider, { min: 0, max: steps - 1, step: 1, value: camloc.stepOf(run), id: `explorer-threshold-${side}` });
      name.htmlFor = slider.id;
      name.append("CAM threshold ", value);
      const numbers = camloc.element("dl", "numbers");
      if (thresholds.length) part.append(name, slider);
      part.append(numbers);
      slider.addEventListener("input", () => { camloc.state.steps[run] = Number(slider.value); this.changed("threshold"); });
      slider.addEventListener("change", () => this.changed("settled"));
      box.append(part);
      return { run, slider, value, numbers };
    });
    camloc.find("reported").hidden = !runs.some((run) => camloc.data.runs[run].thresholds.length);
    this.drawCurve(runs);
    camloc.find("agreement-row").hidden = runs.length < 2;
    for (const option of camloc.find("sort").options) if (option.value.startsWith("gain")) option.hidden = runs.length < 2;
    this.update();
  }

  drawCurve(runs) {
    const box = camloc.find("curve"), { width, height, left, right, top, bottom } = CURVE;
    const drawn = runs.filter((run) => camloc.data.runs[run].errors.length && camloc.data.runs[run].thresholds.length);
    box.replaceChildren();
    for (const one of [box, camloc.find("legend")]) one.toggleAttribute("hidden", !drawn.length); // SVG has no .hidden
    this.markers = [];
    if (!drawn.length) return;
    const all = drawn.map((run) => camloc.data.runs[run]);
    const low = Math.min(...all.map((run) => run.thresholds[0])), high = Math.max(...all.map((run) => run.thresholds.at(-1)));
    const x = (threshold) => left + ((width - left - right) * (threshold - low)) / (high - low || 1);
    const y = (error) => top + (height - top - bottom) * (1 - error);
    const text = (content, attributes) => { const made = camloc.svg("text", attributes); made.textContent = content; box.append(made); };
    for (const error of [0, 0.25, 0.5, 0.75, 1]) {
      box.append(camloc.svg("line", { x1: left, x2: width - right, y1: y(error), y2: y(error), class: "gridline" }));
      if (error !== 0.25 && error !== 0.75) text(`${100 * error}`, { x: left - 5, y: y(error) + 3.5, "text-anchor": "end" });
    }
    const tick = high - low > 0.5 ? 0.2 : Number(((high - low) / 4).toPrecision(1)) || 1;
    for (let at = Math.ceil(low / tick); at * tick <= high + 1e-9; at++) {
      text(String(Number((at * tick).toFixed(4))), { x: x(at * tick), y: height - 6, "text-anchor": "middle" });
    }
    drawn.forEach((run, side) => {
      const { errors, thresholds, reported } = camloc.data.runs[run];
      errors.forEach(([, values], i) => box.append(camloc.svg("polyline", {
        points: values.map((error, step) => `${x(thresholds[step])},${y(error)}`).join(" "), class: `line curve-${i} side-${side}`,
      })));
      if (reported !== null) box.append(camloc.svg("path", { d: `M${x(thresholds[reported])} ${height - bottom}l4 6h-8z`, class: "reported" }));
      const line = camloc.svg("line", { y1: top, y2: height - bottom, class: `marker side-${side}` });
      const dots = errors.map((_, i) => camloc.svg("circle", { r: 3.5, class: `dot curve-${i}` }));
      box.append(line, ...dots);
      this.markers.push({ run, line, dots, x, y });
    });
    const legend = camloc.find("legend");
    legend.replaceChildren(...all[0].errors.map(([name], i) => {
      const one = camloc.element("span", `curve-${i}`);
      one.append(camloc.element("i"), name);
      return one;
    }));
    box.onpointerdown = box.onpointermove = (event) => {
      if (!(event.buttons & 1)) return;
      box.setPointerCapture(event.pointerId);
      const at = box.getBoundingClientRect(), part = ((event.clientX - at.left) * width) / at.width;
      const threshold = low + ((part - left) / (width - left - right)) * (high - low);
      for (const run of drawn) {
        const near = camloc.data.runs[run].thresholds.map((one) => Math.abs(one - threshold));
        camloc.state.steps[run] = near.indexOf(Math.min(...near));
      }
      this.changed("threshold");
    };
    box.onpointerup = () => this.changed("settled");
  }

  // Show the threshold that is set, and the errors there.
  update() {
    for (const { run, slider, value, numbers } of this.sliders) {
      const { thresholds, errors, reported, source, num_pairs: pairs } = camloc.data.runs[run], step = camloc.stepOf(run);
      slider.value = step;
      const text = thresholds.length ? String(Number(thresholds[step].toFixed(4))) : "";
      value.textContent = step === reported ? `${text} (reported${source ? `, ${source}` : ""})` : text;
      slider.setAttribute("aria-valuetext", text);
      numbers.replaceChildren(...errors.map(([name, values], i) => {
        const row = camloc.element("div", `curve-${i}`), shown = camloc.element("dd", "", (100 * values[step]).toFixed(2));
        row.append(camloc.element("dt", "", `${name} error, %`), shown);
        row.title = `of ${pairs.toLocaleString("en")} pairs of test`;
        return row;
      }));
    }
    for (const { run, line, dots, x, y } of this.markers) {
      const { thresholds, errors } = camloc.data.runs[run], step = camloc.stepOf(run), at = x(thresholds[step]);
      line.setAttribute("x1", at);
      line.setAttribute("x2", at);
      dots.forEach((dot, i) => {
        dot.setAttribute("cx", at);
        dot.setAttribute("cy", y(errors[i][1][step]));
      });
    }
    const counts = camloc.causeCounts();
    for (const chip of camloc.find("causes").children) chip.lastChild.textContent = counts[chip.dataset.cause].toLocaleString("en");
  }
};
