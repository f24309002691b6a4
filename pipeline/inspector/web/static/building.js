// Says how far the catalogue and the index are, until they are whole.
"use strict";

const notice = document.getElementById("building");

async function look() {
  const answer = await fetch("/building.json");
  if (!answer.ok) return;
  const { is_ready: isReady, line, failed } = await answer.json();
  notice.textContent = isReady ? "Everything is indexed: reload to search and sort at full speed." : line;
  if (!isReady && !failed) setTimeout(look, 1000);
}

if (!notice.hidden) look();
