// Ctrl and Enter ask, as in other places where SQL is written.
"use strict";

document.querySelector(".query textarea").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
});
