"use strict";
// A table that is sorted by the column whose heading is clicked. A column holds texts, numbers, or cells: the pictures
// of a row, each a `film` or an `error`, with the name of its `column` and `facts`, and some also a `model`. Texts with
// lines of their own may stand `below` it.

function table({ columns, rows, sorted, below = [] }) {
  const wide = make("div", main, { class: "wide" });
  const element = make("table", wide, { class: "scores" }), models = [];
  const head = make("tr", make("thead", element)), body = make("tbody", element);
  const buttons = columns.map(({ name, kind }, index) => {
    const heading = make("th", head, { scope: "col", class: kind });
    if (kind === "cells") return make("span", heading, {}, name);
    const button = make("button", heading, { type: "button" }, name);
    button.addEventListener("click", () => sort(index, heading.getAttribute("aria-sort") !== "descending"));
    return button;
  });
  const lines = rows.map((values) => {
    const line = make("tr", body);
    values.forEach((value, index) => {
      const { kind } = columns[index];
      const place = make(index ? "td" : "th", line, index ? { class: kind } : { class: kind, scope: "row" });
      if (kind === "cells") models.push(...showCells(place, value, values[0]));
      else place.textContent = kind === "number" ? short(value) : value;
    });
    return { values, line };
  });

  // Values that are missing stay last in both directions.
  function sort(index, falling) {
    const sign = falling ? -1 : 1, number = columns[index].kind === "number";
    const missing = (value) => value === null || value === "";
    lines.sort(({ values: { [index]: a } }, { values: { [index]: b } }) =>
      missing(a) || missing(b) ? missing(a) - missing(b) : sign * (number ? a - b : a.localeCompare(b, undefined, { numeric: true })));
    body.append(...lines.map(({ line }) => line));
    buttons.forEach((button) => button.parentElement.removeAttribute("aria-sort"));
    buttons[index].parentElement.setAttribute("aria-sort", falling ? "descending" : "ascending");
  }
  if (sorted !== undefined) sort(sorted, true);
  texts(below);
  // The stills are painted first, because starting WebGL takes longer.
  if (models.length) requestAnimationFrame(() => setTimeout(() => {
    const bar = make("div", main, { class: "bar" });
    wide.before(bar);
    wide.classList.add("models");
    if (startViewer(models, bar, bar)) bar.after(make("p", main, {}, KEYS));
    else models.forEach(({ turn }) => turn());
  }));
}

// All stills of a row turn together. This is the one place where the cells of a row are shown. Return those with a model,
// for the viewer; `turn` lets their stills turn where there is none.
function showCells(place, cells, uid) {
  const group = make("div", place, { class: "row" }), films = [], models = [];
  let frame = 0;
  const set = (value) => films.forEach(({ element, film }) => {
    frame = ((value % film.frames) + film.frames) % film.frames;
    show(element, film, frame);
  });
  for (const { film, error, column, facts, model } of cells) {
    const name = `${uid}, ${column}`, turn = () => film?.frames > 1 && drag(element, () => frame, set, -film.frames);
    const box = make("div", group);
    const element = make("div", box, { class: film ? "film" : "film empty" }, film ? "" : error || "none");
    make("small", box, { class: "column" }, column);
    if (facts) make("small", box, {}, facts);
    if (model) models.push({ model, element, row: uid, figure: group, name, turn });
    else turn();
    if (!film) continue;
    load(element, film, name);
    films.push({ element, film });
  }
  set(0);
  return models;
}

function texts(parts) {
  for (const part of parts) make("pre", main, {}, part);
}
