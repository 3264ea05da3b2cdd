"use strict";
// The controls above the models, and the state that they set: { shading, wires, range }.

const AXES = ["x", "y", "z"];
const SLICE = 0.06; // half of the thickness of a slice of samples

function choose(bar, name, options, change) {
  const select = make("select", make("label", bar, {}, name), { name });
  for (const [value, text] of options) make("option", select, { value }, text);
  select.addEventListener("change", () => change(select.value));
  return select;
}

// A button that stays pressed until it is pressed again.
function toggle(bar, text, title, change, pressed = false) {
  const button = make("button", bar, { type: "button", title, "aria-pressed": pressed }, text);
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    change(on);
  });
  return button;
}

function makeControls(bar, cells, { redraw, reset, link, planes }) {
  const models = cells.map((cell) => cell.model), meshes = models.filter((model) => model.kind === "mesh");
  const measured = models.filter((model) => model.distance), points = models.some((model) => model.kind === "points");
  const painted = meshes.some((model) => model.arrays.some((array) => array.name === "colour"));
  const state = { shading: null, wires: false, range: 1 }, keys = {};
  let legend = null;
  if (meshes.length) {
    const shadings = [["plain", "plain"], ["normals", "normals"]];
    if (painted) shadings.unshift(["colours", "colours"]);
    if (meshes.some((model) => model.distance)) shadings.unshift(["distance", "distance between truth and prediction"]);
    state.shading = shadings[0][0];
    choose(bar, "surface", shadings, (value) => {
      state.shading = value;
      legend?.toggleAttribute("hidden", value !== "distance" && !points);
      redraw();
    });
    const wires = toggle(bar, "wires", "draw the edges of faces (w)", (on) => { state.wires = on; redraw(); });
    keys.w = () => wires.click();
  }
  if (points || meshes.length || models.some((model) => model.mesh)) Object.assign(keys, makeSection(bar, planes, points, redraw, models.some((model) => model.kind !== "points")));
  if (new Set(cells.map((cell) => cell.row)).size > 1) toggle(bar, "link cameras", "turn all shapes together", link, true);
  make("button", bar, { type: "button", title: "the first camera again (0)" }, "reset view").addEventListener("click", reset);
  if (measured.length) {
    legend = makeLegend(bar, measured, (range) => { state.range = range; redraw(); });
    state.range = legend.range;
  }
  addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Object.hasOwn(keys, event.key)) keys[event.key]();
  });
  return state;
}

// The section keeps what lies on one side of a plane; of samples, it keeps a slice. Return what its keys do.
function makeSection(bar, planes, points, redraw, solids) {
  const axes = [["", "none"], ...AXES.map((axis) => [axis, `across ${axis}`])];
  const section = choose(bar, points ? "slice" : "section", axes, cut);
  const place = make("input", make("label", bar, { class: "long" }), { type: "range", min: -1, max: 1, step: 0.01, value: 0, "aria-label": "position of the section" });
  place.addEventListener("input", cut);
  const flip = !solids ? null : toggle(bar, "other side", "keep the other side of the section (f)", cut);
  function cut() {
    const axis = AXES.indexOf(section.value), at = +place.value, side = flip?.getAttribute("aria-pressed") === "true" ? 1 : -1;
    for (const control of [place, flip]) if (control) control.disabled = axis < 0;
    const plane = (sign, constant) => new THREE.Plane(new THREE.Vector3(...AXES.map((_, index) => (index === axis ? sign : 0))), constant);
    planes.solids.length = planes.samples.length = 0;
    if (axis >= 0) {
      planes.solids.push(plane(side, -side * at));
      planes.samples.push(plane(1, SLICE - at), plane(-1, SLICE + at));
    }
    redraw();
  }
  if (points) section.value = "z";
  cut();
  const keys = Object.fromEntries(AXES.map((axis) => [axis, () => { section.value = section.value === axis ? "" : axis; cut(); }]));
  return { ...keys, f: () => flip?.click() };
}

// The kind of the colours of a model's distances, as named in RAMPS.
const kindOf = ({ kind, distance }) => (kind === "points" ? "samples" : distance.signed ? "signed" : "unsigned");

// The scale bars of distances, one for each kind of colours on the page, with a slider for their common range.
// Distances are in the unit of the shape, whose farthest point is at 1 from its centre.
function makeLegend(bar, measured, change) {
  const box = make("div", bar, { class: "scale" }), kinds = [...new Set(measured.map(kindOf))].sort();
  const largest = Math.max(...measured.map((model) => model.distance.largest), 1e-9);
  const means = measured.map((model) => model.distance.mean);
  const usual = (kinds.includes("samples") ? 1 : 4) * means.sort((a, b) => a - b)[Math.floor(means.length / 2)];
  box.range = limit(+usual.toPrecision(1) || largest, largest / 1000, largest);
  const strips = kinds.map((kind) => {
    const low = make("span", box), strip = make("i", box), high = make("span", box), signed = kind !== "unsigned";
    strip.style.background = `linear-gradient(to right, ${GRADIENTS[kind]})`;
    return (range) => {
      low.textContent = signed ? `−${short(range)} inside` : "0";
      high.textContent = signed ? `+${short(range)} outside and more` : `${short(range)} and more${kinds.length > 1 ? ", of an open mesh" : ""}`;
    };
  });
  const slider = make("input", box, { type: "range", min: -3, max: 0, step: 0.05, title: "range of the colours", "aria-label": "range of the colours" });
  const label = (range) => strips.forEach((strip) => strip(range));
  slider.value = Math.log10(box.range / largest);
  slider.addEventListener("input", () => { box.range = largest * 10 ** slider.value; label(box.range); change(box.range); });
  label(box.range);
  return box;
}
