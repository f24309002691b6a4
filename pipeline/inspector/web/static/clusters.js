// ← and → choose the removed document that stands beside the kept one.
"use strict";

document.addEventListener("keydown", (event) => {
  const id = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
  if (!id || event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  document.getElementById(id)?.click();
});
