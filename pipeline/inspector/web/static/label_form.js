// Forms of labels are saved as they are changed, without leaving the page; 1 to 9 set the labels of the
// document that has the focus, or of the only one.
"use strict";

const saving = new WeakMap(); // form → the last save, so that one waits for the other

async function send(form) {
  const said = form.querySelector(".said");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok) throw new Error(`the inspector answered ${answer.status}`);
    const { version, choices, problem } = await answer.json();
    form.elements.seen.value = version; // what was told may be replaced
    said.classList.toggle("warning", Boolean(problem));
    said.textContent = problem ? `${problem} Save again to replace that.` : "Saved.";
    if (problem) return;
    form.elements.more.value = "";
    show(form, choices);
  } catch (error) {
    said.textContent = `Not saved: ${error.message}.`;
    said.classList.add("warning");
  }
}

function save(form) {
  const last = (saving.get(form) ?? Promise.resolve()).then(() => send(form));
  saving.set(form, last);
}

// Sets the boxes to what is saved; a label that is new gets a box of its own.
function show(form, choices) {
  const boxes = new Map([...form.querySelectorAll("[name=label]")].map((box) => [box.value, box]));
  const list = form.querySelector("fieldset");
  for (const [name, isSet] of choices) {
    if (!boxes.has(name)) {
      const choice = list.querySelector(".choice").cloneNode(true);
      choice.querySelector("span").textContent = name;
      choice.querySelector("kbd")?.remove();
      const box = choice.querySelector("input");
      box.value = name;
      boxes.set(name, box);
      list.append(choice);
    }
    boxes.get(name).checked = isSet;
  }
}

function current() {
  const forms = [...document.querySelectorAll("[data-labels]")];
  const holder = document.activeElement.closest("[data-document]");
  return holder?.querySelector("[data-labels]") ?? (forms.length === 1 ? forms[0] : null);
}

for (const form of document.querySelectorAll("[data-labels]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(form);
  });
  form.addEventListener("change", () => save(form));
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("textarea, select, input:not([type=checkbox])");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const box = /^[1-9]$/.test(event.key) && current()?.querySelectorAll("[name=label]")[event.key - 1];
  if (box) {
    event.preventDefault();
    box.click();
  }
});
