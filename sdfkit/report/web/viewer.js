"use strict";
// The three-dimensional view of the models of a gallery. One WebGL canvas, which is not part of the page, draws all
// models in turn, and each picture is copied to the canvas of its model: browsers allow only about 16 WebGL canvases.

// The first camera is that of the stills; see images/turntable.py.
const HOME = { azimuth: 35, elevation: 22, distance: 2.6, yfov: 46 }, DEGREE = Math.PI / 180;
const KEYS = "Drag turns, right-drag or two fingers move; after a click, the wheel and pinching zoom. Keys: arrows turn, Shift and arrows move, + − zoom, 0 resets, w wires, x y z section, f other side, Escape closes a large view.";

const POINT = 0.035; // diameter of a sample

// Return a renderer, or null where the browser cannot draw models.
function startRenderer() {
  const canvas = document.createElement("canvas");
  const context = self.DecompressionStream && canvas.getContext("webgl2", { alpha: true, antialias: true });
  if (!context) return null;
  const renderer = new THREE.WebGLRenderer({ canvas, context, alpha: true });
  renderer.localClippingEnabled = true;
  renderer.setScissorTest(true);
  return renderer;
}

// Show the models of cells, with their controls in `controls`, or say in `bar` why not. Return whether they are shown.
function startViewer(cells, bar, controls) {
  const renderer = startRenderer();
  if (renderer) viewer(renderer, cells, controls);
  else make("p", bar, {}, "This browser has no WebGL, so stills are shown.");
  return renderer !== null;
}

// A camera and the point that it turns around. Cells that share a view move together.
function makeView() {
  return home({ camera: new THREE.PerspectiveCamera(HOME.yfov, 1, 0.02, 40), target: new THREE.Vector3() });
}
function home(view) {
  view.target.set(0, 0, 0);
  view.camera.position.setFromSphericalCoords(HOME.distance, (90 - HOME.elevation) * DEGREE, HOME.azimuth * DEGREE);
  view.camera.lookAt(view.target);
  return view;
}
function copyView(from, to) {
  to.target.copy(from.target);
  to.camera.position.copy(from.camera.position);
  to.camera.quaternion.copy(from.camera.quaternion);
}

// Turn by angles, move by shares of the distance, and scale the distance, as the arrow keys do.
function nudge({ camera, target }, { turn = [0, 0], move = [0, 0], zoom = 1 }) {
  const offset = camera.position.clone().sub(target), place = new THREE.Spherical().setFromVector3(offset);
  place.theta += turn[0];
  place.phi += turn[1];
  place.radius = limit(place.radius * zoom, 0.2, 20);
  place.makeSafe();
  const step = new THREE.Vector3(...move, 0).multiplyScalar(place.radius).applyQuaternion(camera.quaternion);
  target.add(step);
  camera.position.copy(target).add(offset.setFromSpherical(place));
  camera.lookAt(target);
}
const STEP = 7.5 * DEGREE, SHIFT = 0.05;
const MOVES = {
  ArrowLeft: { turn: [STEP, 0], move: [SHIFT, 0] }, ArrowRight: { turn: [-STEP, 0], move: [-SHIFT, 0] },
  ArrowUp: { turn: [0, STEP], move: [0, -SHIFT] }, ArrowDown: { turn: [0, -STEP], move: [0, SHIFT] },
};

// Show the models of cells { model, element, row, figure } in the elements of their stills. `bar` gets the controls.
// Return { swap }: swap(cell, model) shows another model in a cell, or none.
function viewer(renderer, cells, bar) {
  const scene = new THREE.Scene(), rig = new THREE.Group(), planes = { solids: [], samples: [] }, materials = makeMaterials(planes);
  // A headlight and a rim light that are fixed to the camera, as in the stills.
  for (const [intensity, x, y, z] of [[3.5, 0, 0, 1], [4.5, 0.5, 0.7, -0.45]]) {
    const lamp = new THREE.DirectionalLight(0xffffff, intensity);
    lamp.position.set(x, y, z);
    rig.add(lamp, lamp.target);
  }
  scene.add(rig, new THREE.AmbientLight(0xffffff, 0.3));
  const shared = makeView(), own = new Map(cells.map((cell) => [cell.row, makeView()]));
  let asked = false;
  const state = makeControls(bar, cells, { redraw: () => redraw(), reset, link, planes });

  function redraw(view) {
    for (const cell of cells) if (!view || cell.view === view) cell.stale = true;
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  }
  function draw() {
    asked = false;
    for (const cell of cells) if (cell.stale && cell.visible && cell.object) paint(cell);
    if (cells.some((cell) => cell.visible) && cells.every((cell) => !cell.visible || (cell.object && !cell.stale))) {
      if (!main.dataset.models) performance.mark("models");
      main.dataset.models = "drawn"; // for tests, which wait for it
    }
  }
  function paint(cell) {
    const { canvas, view } = cell, ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((length) => Math.round(length * ratio));
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const buffer = renderer.domElement;
    if (buffer.width < width || buffer.height < height)
      renderer.setSize(Math.max(buffer.width, width), Math.max(buffer.height, height), false);
    renderer.setViewport(0, 0, width, height);
    renderer.setScissor(0, 0, width, height);
    view.camera.aspect = width / height;
    view.camera.updateProjectionMatrix();
    rig.position.copy(view.camera.position);
    rig.quaternion.copy(view.camera.quaternion);
    cell.object.show({ ...state, cut: planes.solids.length > 0 });
    materials.points.size = (POINT * height) / buffer.height; // three.js takes the height of the whole canvas
    scene.add(cell.object.group);
    renderer.render(scene, view.camera);
    scene.remove(cell.object.group);
    cell.context.clearRect(0, 0, width, height);
    cell.context.drawImage(buffer, 0, buffer.height - height, width, height, 0, 0, width, height);
    cell.stale = false;
    cell.element.classList.add("drawn"); // which hides the still
  }
  function reset() {
    for (const view of [shared, ...own.values()]) home(view);
    redraw();
  }
  function link(linked) {
    for (const view of own.values()) if (!linked) copyView(shared, view);
    for (const cell of cells) {
      cell.view = linked ? shared : own.get(cell.row);
      [cell.controls.object, cell.controls.target] = [cell.view.camera, cell.view.target];
    }
    redraw();
  }
  function enlarge(cell, large) {
    for (const figure of document.querySelectorAll(".large")) figure.classList.remove("large");
    cell.figure.classList.toggle("large", large);
    if (large) cell.figure.scrollIntoView({ block: "nearest" });
  }

  const make3d = { mesh: makeMesh, points: makePoints, cameras: makeCameras };
  async function swap(cell, model) {
    cell.model = model;
    if (model && !model.object) model.object = make3d[model.kind](model, materials, () => redraw(), cell);
    const object = model && (await model.object);
    if (cell.model !== model) return; // another one has been asked for in the meantime
    cell.object = object;
    if (!object) cell.context.clearRect(0, 0, cell.canvas.width, cell.canvas.height);
    redraw(cell.view);
  }
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const cell = cells.find((each) => each.canvas === entry.target);
      cell.visible = entry.isIntersecting;
      // Models are unpacked when they come into sight for the first time.
      if (cell.visible && !cell.object && cell.model) swap(cell, cell.model);
    }
    redraw();
  }, { rootMargin: "50px" });
  const resized = new ResizeObserver(() => redraw());
  for (const cell of cells) {
    const canvas = make("canvas", cell.element, { tabindex: 0, role: "img", "aria-label": `${cell.name}, in three dimensions` });
    Object.assign(cell, { canvas, context: canvas.getContext("2d"), view: shared, stale: true });
    cell.controls = new THREE.OrbitControls(shared.camera, canvas);
    cell.controls.target = shared.target;
    Object.assign(cell.controls, { minDistance: 0.2, maxDistance: 20, enableZoom: false });
    cell.controls.addEventListener("change", () => redraw(cell.view));
    // Until a model is clicked, the wheel and a finger that moves up or down scroll the page.
    canvas.style.touchAction = "pan-y";
    canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
    canvas.addEventListener("focus", () => { cell.controls.enableZoom = true; canvas.style.touchAction = "none"; });
    canvas.addEventListener("blur", () => { cell.controls.enableZoom = false; canvas.style.touchAction = "pan-y"; });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const move = MOVES[event.key], zoom = { "+": 1 / 1.1, "=": 1 / 1.1, "-": 1.1 }[event.key];
      if (event.key === "0") return reset();
      if (!move && !zoom) return;
      nudge(cell.view, zoom ? { zoom } : event.shiftKey ? { move: move.move } : { turn: move.turn });
      event.preventDefault();
      redraw(cell.view);
    });
    canvas.addEventListener("dblclick", () => enlarge(cell, !cell.figure.classList.contains("large")));
    const button = make("button", cell.element, { type: "button", class: "enlarge", title: "large view", "aria-label": `large view of ${cell.name}` }, "⤢");
    button.addEventListener("click", () => enlarge(cell, !cell.figure.classList.contains("large")));
    addEventListener("keydown", (event) => { if (event.key === "Escape") enlarge(cell, false); });
  }
  for (const { canvas } of cells) { sight.observe(canvas); resized.observe(canvas); }
  matchMedia("(resolution: 1dppx)").addEventListener("change", () => redraw());
  renderer.domElement.addEventListener("webglcontextrestored", () => redraw());
  return { swap };
}
