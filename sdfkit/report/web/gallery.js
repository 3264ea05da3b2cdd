"use strict";
// Shapes as stills that turn and, where the browser can, as models in three dimensions. A tile is one shape: one cell,
// or several `cells` side by side, such as truth and prediction. A cell has stills (`film`), a `model`, or an error.

function gallery({ label, turns, tiles }) {
  const bar = make("div", main, { class: "bar" });
  const columns = Math.max(1, ...tiles.map((tile) => (tile.cells || [tile]).length));
  const modelled = tiles.some((tile) => (tile.cells || [tile]).some((cell) => cell.model));
  const grid = make("div", main, { class: modelled ? "grid models" : "grid" });
  grid.classList.toggle("few", tiles.length * columns <= 3);
  grid.style.setProperty("--columns", columns);
  const cells = [];
  for (const [row, tile] of tiles.entries()) {
    const figure = make("figure", grid), caption = make("figcaption", figure, {}, tile.uid);
    for (const fact of [tile.category, tile.facts]) if (fact) make("small", caption, {}, fact);
    const place = make("div", figure, { class: "cells" });
    if (!tile.cells) figure.append(caption); // the name of several cells stands above them
    for (const cell of tile.cells || [tile]) {
      const box = make("div", place), name = cell.column ? `${tile.uid}, ${cell.column}` : tile.uid;
      const element = make("div", box, { class: cell.film ? "film" : "film empty" }, cell.film ? "" : cell.error || "none");
      if (cell.film) {
        load(element, cell.film, name);
        show(element, cell.film, turns ? 0 : Math.floor(cell.film.frames / 2));
      }
      cells.push({ ...cell, element, row, figure, name });
      if (cell.column) make("small", box, { class: "column" }, cell.column);
      if (cell.column && cell.facts) make("small", box, {}, cell.facts);
    }
  }
  const models = cells.filter((cell) => cell.model);
  // Of samples and views, the stills show more than a way to wait for models, so one can switch between both.
  const both = models.some((cell) => cell.model.kind !== "mesh"), flat = models.some((cell) => cell.model.kind === "cameras");
  const group = () => make("div", bar, { class: "group" });
  // The stills are painted first, because starting WebGL takes longer.
  if (models.length) requestAnimationFrame(() => setTimeout(start));
  else turnStills(cells, bar, { label, turns });

  function start() {
    const choice = group(), solid = group(), stills = group(), shown = startViewer(models, bar, solid);
    if (!shown || both) turnStills(cells, stills, { label, turns });
    else turnStills(cells.filter((cell) => !cell.model), stills, { label: "turn pictures", turns });
    if (!shown) return;
    make("p", main, { class: "keys" }, KEYS);
    if (!both) return;
    const choose = (on) => { grid.classList.toggle("flat", !on); solid.hidden = !on; stills.hidden = on; };
    toggle(choice, "in 3-D", "points and cameras in three dimensions, or pictures", choose, !flat);
    choose(!flat);
  }
}

// Let the stills of cells turn: each by itself, and all by the slider.
function turnStills(cells, bar, { label, turns }) {
  const films = cells.filter((cell) => cell.film).map((cell) => film(cell.element, cell.film, turns));
  const longest = Math.max(1, ...films.map((each) => each.frames));
  if (longest === 1) return;
  const box = make("label", bar, { class: "long" }, label);
  const slider = make("input", box, { type: "range", min: 0, max: longest - 1, value: turns ? 0 : Math.floor(longest / 2) });
  slider.addEventListener("input", () => films.forEach((each) => each.set(+slider.value)));
}

// Let a finger or the arrow keys change the frame of stills. Return { frames, set }.
function film(element, { frames, ...rest }, turns) {
  let frame = turns ? 0 : Math.floor(frames / 2);
  const set = (value) => {
    frame = turns ? ((value % frames) + frames) % frames : limit(value, 0, frames - 1);
    show(element, { frames, ...rest }, frame);
  };
  if (frames > 1) drag(element, () => frame, set, turns ? -frames : frames);
  return { frames, set };
}

// A shape turns with the finger, so its camera moves the other way.
function drag(element, get, set, across) {
  let start = null;
  element.classList.add("turns");
  element.tabIndex = 0;
  element.addEventListener("pointerdown", (event) => {
    if (event.target !== element) return; // but the canvas of a model
    start = [event.clientX, get()];
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (start) set(start[1] + Math.round(((event.clientX - start[0]) / element.clientWidth) * across));
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (start = null));
  element.addEventListener("keydown", (event) => {
    if (event.target !== element) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (way) set(get() + way * Math.sign(across));
  });
}
