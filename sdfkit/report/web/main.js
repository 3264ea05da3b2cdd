"use strict";
document.querySelector("h1").textContent = content.heading;
for (const note of content.notes) make("p", document.querySelector("header"), {}, note);
if (content.stepper) stepper(content.stepper);
if (content.plots) plots(content.plots);
if (content.gallery) gallery(content.gallery);
if (content.texts) texts(content.texts);
if (content.table) table(content.table);
