"use strict";
// Puts the parts together: tabs, light and dark, keyboard.

(() => {
  const { state, data } = camloc, page = document.documentElement;

  const remembered = (name, value) => {
    try { // a page from disk may be refused a memory
      if (value === undefined) return localStorage.getItem(`camloc-${name}`);
      localStorage.setItem(`camloc-${name}`, value);
    } catch { /* it then follows the system */ }
    return null;
  };
  const isDark = () => (page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = document.getElementById("theme");
  const paint = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  const switchTheme = () => { remembered("theme", (page.dataset.theme = isDark() ? "light" : "dark")); paint(); };
  if (["light", "dark"].includes(remembered("theme"))) page.dataset.theme = remembered("theme");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  theme.onclick = switchTheme;
  paint();

  const nav = document.getElementById("tabs"), sections = [...document.querySelectorAll("main > [data-tab]")];
  const showTab = (id) => {
    const wanted = sections.find((section) => section.id === id) ?? sections[0];
    for (const section of sections) section.hidden = section !== wanted;
    for (const link of nav.querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === `#${wanted.id}`);
    document.body.classList.toggle("exploring", wanted.id === "explore");
    grid.layOut();
  };
  nav.hidden = sections.length < 2;
  for (const section of sections) {
    const link = camloc.element("a", "", section.dataset.tab);
    link.href = `#${section.id}`;
    nav.insertBefore(link, null);
  }
  addEventListener("hashchange", () => showTab(location.hash.slice(1)));

  state.steps = data.runs.map((_, run) => camloc.reportedStep(run));
  if (data.runs.length > 1) state.right = 1;
  const style = camloc.find("root").style, detailDialog = camloc.find("detail");
  const draw = () => {
    for (const one of [camloc.find("root"), detailDialog]) {
      one.style.setProperty("--heat", state.heatmap ? state.opacity : 0);
      one.classList.toggle("no-boxes", !state.boxes);
      one.classList.toggle("no-truth", !state.truth);
    }
  };
  const numRows = data.pair_image.length, numBare = data.pair_class.filter((index) => index < 0).length;
  const list = () => {
    camloc.select();
    const said = (shown, all, what) => `${shown === all ? "" : `${shown.toLocaleString("en")} of `}${all.toLocaleString("en")} ${what}`;
    const bare = state.list.filter(camloc.isBare).length, rows = state.list.length;
    camloc.find("count").textContent = numRows === data.names.length ? said(rows, numRows, "images")
      : said(rows - bare, numRows - numBare, "pairs of image and class") + (numBare ? `, ${said(bare, numBare, "images without a class")}` : "");
    camloc.find("empty").hidden = state.list.length > 0;
    grid.layOut(true);
  };
  const dependsOnThreshold = () => state.causes.size || state.agreement || state.iou[0] > 0 || state.iou[1] < 1 || /iou|gain/.test(state.sort);
  const changed = (what) => {
    if (what === "drawing") return draw();
    if (what === "threshold") { // the order stays until the slider is let go: boxes are watched, not thumbnails that jump
      panel.update();
      grid.move();
      detail.move();
    } else if (what === "settled") {
      if (dependsOnThreshold() && !detail.isOpen) list();
    } else if (what === "class") {
      grid.refill();
      detail.refill();
    } else {
      list();
      panel.update();
    }
    return undefined;
  };

  const grid = new camloc.Grid((place) => detail.open(place));
  const detail = new camloc.Detail(grid, changed);
  detailDialog.addEventListener("close", () => { if (dependsOnThreshold()) list(); });
  const panel = new camloc.Panel(changed);
  camloc.find("rule").textContent = data.rule;
  const moveThreshold = (by) => {
    for (const run of camloc.shownRuns()) {
      state.steps[run] = Math.min(Math.max(state.steps[run] + by, 0), data.runs[run].steps - 1);
    }
    changed("threshold");
  };
  const toggle = (id) => {
    const box = camloc.find(id);
    box.checked = state[id] = !state[id];
    changed("drawing");
  };
  const otherClass = () => {
    if (camloc.find("view").hidden) return;
    const chosen = [...document.getElementsByName("explorer-view")].find((one) => !one.checked);
    chosen.checked = true;
    state.view = chosen.value;
    changed("class");
  };
  const help = camloc.find("help");
  camloc.find("help-button").onclick = () => help.showModal();
  help.onclick = () => help.close();
  const anywhere = {
    ",": () => moveThreshold(-1), ".": () => moveThreshold(1), "<": () => moveThreshold(-10), ">": () => moveThreshold(10),
    "0": () => panel.toReported(), h: () => toggle("heatmap"), b: () => toggle("boxes"), g: () => toggle("truth"),
    c: otherClass, t: switchTheme, "?": () => (help.open ? help.close() : help.showModal()),
  };
  const inGrid = {
    ArrowLeft: () => grid.go(state.cursor - 1), ArrowRight: () => grid.go(state.cursor + 1),
    ArrowUp: () => grid.go(state.cursor - grid.columns), ArrowDown: () => grid.go(state.cursor + grid.columns),
    Home: () => grid.go(0), End: () => grid.go(state.list.length - 1), Enter: () => detail.open(state.cursor),
    "/": () => camloc.find("text").focus(),
  };
  const inDetail = { ArrowLeft: () => detail.step(-1), ArrowRight: () => detail.step(1) };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !document.body.classList.contains("exploring")) return;
    if (event.target.closest("input:not([type=checkbox]):not([type=radio]), select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const isButton = event.key === "Enter" && event.target.closest("button:not(.tile), a, summary");
    const call = isButton ? null : (anywhere[event.key] ?? (detail.isOpen ? inDetail : help.open ? {} : inGrid)[event.key]);
    if (!call) return;
    event.preventDefault();
    call();
  });

  draw();
  if (matchMedia("(max-width: 56rem)").matches) document.querySelector("#explore .panel").open = false;
  camloc.find("root").hidden = false;
  showTab(location.hash.slice(1));
  list();
  panel.update();
  page.dataset.ready = "true";
})();
