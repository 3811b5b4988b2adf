// The live part of a page of the console refreshes itself. It waits while the tab is hidden, while
// somebody fills in or marks something in it, and longer after each failure.
const EVERY_MS = 3000;
const LONGEST_MS = 60_000;
const status = document.getElementById("freshness");
let failures = 0;
let notBefore = 0;
let updatedAt = new Date();

function tell(text, state) {
  if (status && status.textContent !== text) {
    status.textContent = text;
    status.dataset.state = state;
  }
}

function isInUse(region) {
  return region.querySelector("input:focus, select:focus, textarea:focus, input[type=checkbox]:checked");
}

// What somebody has typed or chosen, and left for another field.
function isFilledIn(node) {
  if (node.matches?.("input, textarea")) return node.value !== node.defaultValue;
  return node.matches?.("select") && [...node.options].some((option) => option.selected !== option.defaultSelected);
}

if (window.htmx && window.Idiomorph && document.getElementById("live")) {
  tell("Live", "live");
  // What scripts draw and people unfold is not in the answer of the server.
  Object.assign(Idiomorph.defaults.callbacks, {
    beforeNodeMorphed: (node) => !node.classList?.contains("chart-plot") && !isFilledIn(node),
    beforeAttributeUpdated: (name, node) =>
      !((name === "open" && node.tagName === "DETAILS") || (name === "class" && node.classList.contains("chart"))),
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden || Date.now() < notBefore || isInUse(event.detail.elt)) event.preventDefault();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) {
      failures = 0;
      notBefore = 0;
      updatedAt = new Date();
      tell("Live", "live");
      return;
    }
    failures += 1;
    notBefore = Date.now() + Math.min(EVERY_MS * 2 ** failures, LONGEST_MS);
    const time = updatedAt.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    tell(`Not updated since ${time}`, "stale");
  });
}
