"use strict";
function stepper({ shapes, runs }) {
  const bar = make("div", main, { class: "bar" });
  const chooser = make("select", make("label", bar, {}, "shape"));
  shapes.forEach((shape, index) => make("option", chooser, { value: index }, [shape.uid, shape.category].filter(Boolean).join(" – ")));
  const play = make("button", bar, { type: "button" }, "▶ play");
  const box = make("label", bar, { class: "long" }, "step"), slider = make("input", box, { type: "range", min: 0, value: 0 });
  const switches = runs.map((run, index) => runs.length > 1 && make("button", bar, { type: "button" }, run.name));
  const panes = make("div", main, { class: "panes steps" });
  const pane = (title, tag) => {
    const section = make("section", panes);
    make("h2", section, {}, title);
    return tag === "svg" ? draw("svg", section, { role: "img", "aria-label": title }) : make("div", section, { class: "film" });
  };
  const path = pane("velocity path", "svg"), solid = solidPane(panes, runs), decoded = pane("decoded silhouette");
  const others = [["truth", "truth"], ["picture", "input picture"]].filter(([name]) => shapes.some((shape) => shape[name]));
  const still = others.map(([name, title]) => [name, pane(title)]);
  const facts = make("dl", main);
  const help = "Keys: ← → step, ↑ ↓ shape, space play" + (runs.length > 1 ? ", n switches the noise" : "") + ". The address records shape, step and noise.";
  make("p", main, {}, help);
  const now = { shape: 0, step: 0, noise: 0 };
  let timer = null;

  function frame(element, film, place, label) {
    element.hidden = false;
    element.className = film ? "film" : "film empty";
    element.textContent = film ? "" : label;
    if (film) { load(element, film, label); show(element, film, place); } else element.style.backgroundImage = "";
  }
  function update() {
    const run = runs[now.noise], shape = shapes[now.shape], own = run.shapes[now.shape];
    const last = Math.max(...run.shapes.map((each) => (each.path ? each.path.length - 1 : 0)));
    now.step = limit(now.step, 0, last);
    chooser.value = now.shape;
    [slider.max, slider.value] = [last, now.step];
    slider.setAttribute("aria-valuetext", `step ${now.step} of ${last}`);
    switches.forEach((button, index) => button && button.setAttribute("aria-pressed", index === now.noise));
    const lines = run.shapes.filter((each) => each.path).map((each) => ({ x: each.path.map((p) => p[0]), y: each.path.map((p) => p[1]), colour: "var(--pale)", opacity: 0.35 }));
    const points = run.shapes.filter((each) => each.path).map((each) => ({ x: each.path[now.step][0], y: each.path[now.step][1], size: 2.5, colour: "var(--pale)", opacity: 0.6 }));
    if (own.path) {
      const done = own.path.slice(0, now.step + 1), [x, y] = done[now.step];
      lines.push({ x: done.map((p) => p[0]), y: done.map((p) => p[1]), colour: "var(--accent)", width: 3 });
      points.push(...done.map((p) => ({ x: p[0], y: p[1], size: 3, colour: "var(--accent)" })), { x, y, size: 7, colour: "var(--accent)", opacity: 1 });
    }
    plot(path, { x: run.axes[0], y: run.axes[1], lines, points, equal: true });
    frame(decoded, own.film, now.step, own.error || `silhouette of ${shape.uid} at step ${now.step}`);
    for (const [name, element] of still) frame(element, shape[name], 0, shape[name] ? `${name} of ${shape.uid}` : "none");
    solid?.(own.models ? own.models[now.step] : null);
    facts.replaceChildren();
    const entries = [["step", `${now.step} of ${last}`], ["noise", run.name]];
    if (own.path) entries.push(["|z|", short(own.norm[now.step])], ["length of this step", short(own.moved[now.step])], ["IoU with the truth", own.iou ? own.iou[now.step].toFixed(3) : "–"]);
    for (const [name, value] of entries) { const group = make("div", facts); make("dt", group, {}, name); make("dd", group, {}, value); }
    // A frame inside another page may forbid this; everything else still works.
    try { history.replaceState(null, "", `#shape=${now.shape}&step=${now.step}&noise=${now.noise}`); } catch {}
  }
  function go(change) {
    Object.assign(now, change);
    now.shape = limit(now.shape, 0, shapes.length - 1);
    now.noise = ((now.noise % runs.length) + runs.length) % runs.length;
    update();
  }
  function stop() { clearInterval(timer); timer = null; play.textContent = "▶ play"; }
  function toggle() {
    if (timer) return stop();
    if (now.step >= +slider.max) go({ step: 0 });
    play.textContent = "❚❚ stop";
    timer = setInterval(() => (now.step < +slider.max ? go({ step: now.step + 1 }) : stop()), 600);
  }
  function follow() {
    const asked = new URLSearchParams(location.hash.slice(1)), change = {};
    for (const name of Object.keys(now)) if (/^\d+$/.test(asked.get(name))) change[name] = +asked.get(name);
    go(change);
  }
  slider.addEventListener("input", () => { stop(); go({ step: +slider.value }); });
  chooser.addEventListener("change", () => go({ shape: +chooser.value }));
  play.addEventListener("click", toggle);
  switches.forEach((button, index) => button && button.addEventListener("click", () => go({ noise: index })));
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, canvas") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], shape = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) { stop(); go({ step: now.step + step }); }
    if (shape) go({ shape: now.shape + shape });
    if (event.key === "n") go({ noise: now.noise + 1 });
    if (event.key === " " && event.target !== play) toggle();
    if (step || shape || (event.key === " " && !event.target.matches("button"))) event.preventDefault();
  });
  follow();
}

// Make the pane of the meshes of the steps, if there are any; return a function that shows one of them, or none.
function solidPane(panes, runs) {
  const models = runs.flatMap((run) => run.shapes.flatMap((shape) => shape.models || [])).filter((model) => model);
  const renderer = models.length ? startRenderer() : null;
  if (!renderer) return null;
  const section = make("section", panes, { class: "models" });
  const title = make("h2", section), element = make("div", section, { class: "film" });
  element.style.aspectRatio = 1;
  const cell = { model: models[0], element, row: 0, figure: section, name: "decoded mesh" };
  const { swap } = viewer(renderer, [cell], make("div", section, { class: "controls" }));
  return (model) => {
    title.textContent = model ? "decoded mesh" : "decoded mesh: no surface";
    swap(cell, model);
  };
}
