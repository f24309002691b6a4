// Reading: j and k bring the next and the previous document to the top.
"use strict";

const samples = [...document.querySelectorAll(".sample")];

function read(step) {
  const held = samples.findIndex((one) => one.contains(document.activeElement));
  const next = samples[Math.max(0, Math.min(samples.length - 1, held < 0 ? 0 : held + step))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "start" });
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("textarea, select, input:not([type=checkbox])");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "j") read(1);
  if (event.key === "k") read(-1);
  if (event.key === "Enter" && event.target.matches(".sample")) event.target.querySelector("a").click();
});
