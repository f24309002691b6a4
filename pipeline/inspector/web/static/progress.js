// Fetches the page anew every other second, and puts what has changed in the place of what was there.
"use strict";

const EVERY_MS = 2000;

function isSelected(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}

async function refresh() {
  const answer = await fetch("/progress");
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.getElementById(part.id);
    if (newer.innerHTML !== part.innerHTML && !isSelected(part)) part.replaceChildren(...newer.childNodes);
  }
}

async function watch() {
  const silent = document.getElementById("silent");
  try {
    if (!document.hidden) await refresh();
    silent.hidden = true;
  } catch {
    silent.hidden = false; // the inspector was ended, and may come back
  }
  setTimeout(watch, EVERY_MS);
}

setTimeout(watch, EVERY_MS);
