"use strict";
// Thumbnails of the chosen pairs; only those on the screen are in the page.

const TILE = { thumbnail: 148, between: 4, padding: 16, caption: 60, gap: 10 }; // pixels; thumbnails grow until a row is full

camloc.Grid = class {
  constructor(open) {
    this.root = camloc.find("grid");
    this.open = open;
    this.tiles = new Map(); // place in the list -> tile
    new ResizeObserver(() => this.layOut()).observe(this.root);
    new ResizeObserver(() => this.later()).observe(document.body); // what stands above the grid may fold
    addEventListener("scroll", () => this.later(), { passive: true });
    addEventListener("resize", () => this.later());
  }

  later() {
    this.planned ??= requestAnimationFrame(() => { this.planned = undefined; this.render(); });
  }

  get sides() { return camloc.shownRuns().length; }
  get around() { return (this.sides - 1) * TILE.between + TILE.padding; }
  get tileWidth() { return this.sides * this.thumbnail + this.around; }
  get tileHeight() { return this.thumbnail + TILE.caption; }

  // Take a new list, or a new width.
  layOut(fresh = false) {
    const room = this.root.clientWidth, least = this.sides * TILE.thumbnail + this.around + TILE.gap;
    if (!room) return; // another tab is shown
    this.columns = Math.max(1, Math.floor((room + TILE.gap) / least));
    const thumbnail = Math.floor(((room + TILE.gap) / this.columns - TILE.gap - this.around) / this.sides);
    if (fresh || thumbnail !== this.thumbnail) {
      for (const tile of this.tiles.values()) tile.root.remove();
      this.tiles.clear();
    }
    this.thumbnail = thumbnail;
    const rows = Math.ceil(camloc.state.list.length / this.columns);
    this.root.style.height = `${Math.max(rows * (this.tileHeight + TILE.gap) - TILE.gap, 40)}px`;
    for (const [place, tile] of this.tiles) this.put(place, tile);
    this.render();
  }

  put(place, tile) {
    const x = (place % this.columns) * (this.tileWidth + TILE.gap), y = Math.floor(place / this.columns) * (this.tileHeight + TILE.gap);
    tile.root.style.transform = `translate(${x}px, ${y}px)`;
  }

  render() {
    if (!this.columns || !this.root.offsetParent) return;
    const top = this.root.getBoundingClientRect().top, high = this.tileHeight + TILE.gap;
    const first = Math.max(0, Math.floor((-top - high) / high)) * this.columns;
    const end = Math.min(camloc.state.list.length, Math.ceil((innerHeight - top + high) / high) * this.columns);
    for (const [place, tile] of this.tiles) {
      if (place < first || place >= end) {
        tile.root.remove();
        this.tiles.delete(place);
      }
    }
    for (let place = first; place < end; place++) if (!this.tiles.has(place)) this.add(place);
    for (const [place, tile] of this.tiles) tile.root.classList.toggle("current", place === camloc.state.cursor);
  }

  add(place) {
    const row = camloc.state.list[place], { data } = camloc, tile = { row, views: [], facts: [] };
    tile.root = camloc.element("button", "tile");
    tile.root.type = "button";
    tile.root.tabIndex = -1;
    tile.root.style.width = `${this.tileWidth}px`;
    tile.root.style.height = `${this.tileHeight}px`;
    const thumbnails = camloc.element("div", "thumbnails"), caption = camloc.element("div", "caption");
    caption.append(camloc.element("bdi", "class", camloc.className(data.pair_class[row])));
    const facts = camloc.element("div", "facts");
    for (const run of camloc.shownRuns()) {
      const view = new camloc.View(run), frame = camloc.element("div", "frame");
      frame.style.width = frame.style.height = `${this.thumbnail}px`;
      frame.append(view.root);
      thumbnails.append(frame);
      tile.views.push(view);
      const fact = camloc.element("span", "fact");
      facts.append(fact);
      tile.facts.push([run, fact]);
    }
    caption.append(facts);
    tile.root.append(thumbnails, caption);
    tile.root.onclick = () => this.open(place);
    this.put(place, tile);
    this.root.append(tile.root);
    this.tiles.set(place, tile);
    for (const view of tile.views) view.show(row, this.thumbnail, this.thumbnail, 0.5);
    this.say(tile);
  }

  say(tile) {
    const { data } = camloc, words = [camloc.className(data.pair_class[tile.row])];
    for (const [run, fact] of tile.facts) {
      const of = data.runs[run], step = camloc.stepOf(run), cause = camloc.cause(of, tile.row, step);
      fact.replaceChildren();
      fact.className = `fact cause-${cause}`;
      if (cause !== camloc.UNKNOWN) {
        fact.append(camloc.element("i"), `IoU ${camloc.iouText(camloc.iou(of, tile.row, step))}`);
        fact.title = data.causes[cause];
        words.push(data.causes[cause]);
      }
      const probability = camloc.probability(of, tile.row);
      if (probability === null) continue;
      if (camloc.isBare(tile.row)) {
        const predicted = camloc.probableClass(of, tile.row);
        fact.append(camloc.element("bdi", "", predicted));
        words.push(`predicted ${predicted}`);
      }
      fact.append(camloc.element("span", "probability", camloc.percent(probability)));
    }
    tile.root.setAttribute("aria-label", words.join(", "));
  }

  // The CAM threshold has moved.
  move() {
    for (const tile of this.tiles.values()) {
      for (const view of tile.views) view.move();
      this.say(tile);
    }
  }

  refill() {
    for (const tile of this.tiles.values()) for (const view of tile.views) view.fill();
  }

  // Look at another pair, and bring it onto the screen.
  go(place) {
    camloc.state.cursor = Math.min(Math.max(place, 0), camloc.state.list.length - 1);
    const high = this.tileHeight + TILE.gap, top = this.root.getBoundingClientRect().top + Math.floor(camloc.state.cursor / this.columns) * high;
    if (top < 60) scrollBy(0, top - 60);
    else if (top + high > innerHeight) scrollBy(0, top + high - innerHeight);
    this.render();
  }
};
