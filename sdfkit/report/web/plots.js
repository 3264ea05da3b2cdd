"use strict";
function ticks(low, high) {
  const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((value) => value >= raw);
  return Array.from({ length: 12 }, (_, index) => (Math.ceil(low / step) + index) * step).filter((value) => value <= high);
}

// Write the label of an axis above or below a plot, as text of the page: it breaks into lines, so that nothing is cut.
function nameAxis(svg, axis, text) {
  let label = svg.parentElement.querySelector(`.axis.${axis}`);
  if (!label) {
    label = document.createElement("p");
    label.className = `axis ${axis}`;
    if (axis === "y") svg.before(label); else svg.after(label);
  }
  label.textContent = text;
}

// Draw lines {x, y, colour, opacity} and points {x, y, colour, size, name} with axes; call `select` with a chosen point.
function plot(svg, { x, y, lines = [], points = [], log, equal }, select) {
  const W = 400, H = 400, LEFT = 56, BOTTOM = 24, EDGE = 10;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  const lift = (value) => (value === null || !log ? value : value > 0 ? Math.log10(value) : null);
  const spans = ["x", "y"].map((axis) => {
    const values = [...lines.flatMap((line) => line[axis]), ...points.map((point) => point[axis])]
      .map((value) => (axis === "y" ? lift(value) : value)).filter((value) => value !== null);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = low < high ? 0.04 * (high - low) : Math.abs(low) || 1;
    return values.length ? [low - room, high + room] : [0, 1];
  });
  const lengths = [W - LEFT - EDGE, H - BOTTOM - EDGE];
  if (equal) {
    const scale = Math.max(...spans.map(([low, high], axis) => (high - low) / lengths[axis]));
    spans.forEach((span, axis) => {
      const middle = (span[0] + span[1]) / 2;
      spans[axis] = [middle - (scale * lengths[axis]) / 2, middle + (scale * lengths[axis]) / 2];
    });
  }
  const across = (value) => LEFT + ((value - spans[0][0]) / (spans[0][1] - spans[0][0])) * lengths[0];
  const down = (value) => H - BOTTOM - ((value - spans[1][0]) / (spans[1][1] - spans[1][0])) * lengths[1];
  draw("rect", svg, { class: "frame", x: LEFT, y: EDGE, width: lengths[0], height: lengths[1] });
  for (const value of ticks(...spans[0])) draw("text", svg, { x: across(value), y: H - BOTTOM + 16, "text-anchor": "middle" }, short(value));
  for (const value of ticks(...spans[1])) draw("text", svg, { x: LEFT - 5, y: down(value) + 4, "text-anchor": "end" }, short(log ? 10 ** value : value));
  nameAxis(svg, "y", y);
  nameAxis(svg, "x", x);
  for (const line of lines) {
    const places = line.x.map((value, index) => [value, lift(line.y[index])]).filter((place) => !place.includes(null));
    const text = places.map(([a, b]) => `${across(a).toFixed(1)},${down(b).toFixed(1)}`).join(" ");
    draw("polyline", svg, { class: "path", points: text, stroke: line.colour, "stroke-width": line.width || 1.5, opacity: line.opacity || 1 });
  }
  for (const point of points) {
    const dot = draw("circle", svg, { class: "pick", cx: across(point.x), cy: down(point.y), r: point.size || 4, fill: point.colour, opacity: point.opacity || 0.85 });
    if (point.name !== undefined) draw("title", dot, {}, point.name);
    if (select) for (const kind of ["pointerenter", "click"]) dot.addEventListener(kind, () => select(point));
  }
}

function plots(panels) {
  const panes = make("div", main, { class: "panes" });
  for (const panel of panels) {
    const section = make("section", panes);
    make("h2", section, {}, panel.title);
    const svg = draw("svg", section, { role: "img", "aria-label": panel.title });
    const names = panel.points ? [...new Set(panel.points.map((point) => point.group))] : panel.lines.map((line) => line.name);
    const colour = (name) => COLOURS[names.indexOf(name) % COLOURS.length];
    for (const item of panel.points || panel.lines) item.colour = colour(panel.points ? item.group : item.name);
    const legend = make("div", section, { class: "legend" });
    for (const name of names.filter((name) => name && names.length > 1)) {
      const entry = make("span", legend);
      make("i", entry).style.background = colour(name);
      entry.append(name);
    }
    const selected = make("p", section, {}, panel.points ? "Point at a dot to read its name." : "");
    plot(svg, panel, (point) => (selected.textContent = [point.name, point.group].filter(Boolean).join(" – ")));
  }
}
