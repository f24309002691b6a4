// Says which token is pointed at, or was tapped: its place in the document, its id, and its bytes as text.
"use strict";

const field = document.querySelector(".tokens");
const said = document.getElementById("token");
let chosen = null;

function tell(token) {
  const place = Number(field.dataset.start) + [...field.children].indexOf(token) + 1;
  said.textContent = `token ${place.toLocaleString("en")}: id ${token.title}`;
}

field?.addEventListener("mouseover", (event) => {
  if (event.target !== field && !chosen) tell(event.target);
});
field?.addEventListener("click", (event) => {
  chosen?.classList.remove("chosen");
  chosen = event.target === field || event.target === chosen ? null : event.target;
  chosen?.classList.add("chosen");
  if (chosen) tell(chosen);
});
