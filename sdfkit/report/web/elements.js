"use strict";
// The content has a heading and notes, and any of: gallery (pictures of shapes), plots, stepper (trajectories).
const content = JSON.parse(document.getElementById("content").textContent);
const main = document.querySelector("main");
const COLOURS = ["#3b82d6", "#e6832b", "#38a169", "#d64550", "#9067c6", "#a5714f", "#d96bb5", "#8a929b", "#b0a61d", "#27a9bd"];

function fill(element, parent, attributes, text) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
const make = (tag, parent, attributes = {}, text) => fill(document.createElement(tag), parent, attributes, text);
const draw = (tag, parent, attributes = {}, text) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), parent, attributes, text);
const limit = (value, low, high) => Math.min(Math.max(value, low), high);
const short = (value) => (value === null || value === undefined ? "–" : String(+value.toPrecision(3)));

// A film is one image that holds pictures row by row, `across` of them in each row.
function load(element, film, label) {
  element.style.backgroundImage = `url("${film.image}")`;
  element.style.backgroundSize = `${film.across * 100}% ${Math.ceil(film.frames / film.across) * 100}%`;
  element.style.aspectRatio = film.aspect;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
}
function show(element, film, frame) {
  const share = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0) + "%";
  const across = share(frame % film.across, film.across), down = Math.floor(frame / film.across);
  element.style.backgroundPosition = `${across} ${share(down, Math.ceil(film.frames / film.across))}`;
}
