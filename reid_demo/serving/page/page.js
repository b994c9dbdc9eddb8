// A link needs this page's own address, which only the browser knows.
window.fullLink = (query) => {
  const linked = Boolean(query?.startsWith("?"));
  remember(linked ? query : "");
  return linked ? window.location.origin + window.location.pathname + query : query;
};

// Each probe is a step of the browser's history, so that Back shows the one before instead of leaving the page. Its
// address is the link of the view as it was left; a picture of the visitor's own has none.
let stepped = null, search = window.location.search; // the probe that the address stands for, and its values
function remember(query) {
  const probe = document.querySelector(".stage")?.dataset.source ?? "";
  const opens = stepped === null, another = stepped !== probe;
  stepped = probe;
  if (opens || (!another && !query)) return; // the address stays as it was written
  const values = new URLSearchParams(query);
  for (const [name, value] of new URLSearchParams(search)) if (name.startsWith("__")) values.set(name, value);
  const written = values.toString(), address = window.location.pathname + (written && `?${written}`);
  if (another) window.history.pushState(null, "", address);
  else window.history.replaceState(null, "", address);
  search = window.location.search;
}
window.addEventListener("popstate", () => window.location.search !== search && window.location.reload());

// A picture far down the page became the probe: show its ranking, where it is out of sight.
window.showRanking = () => {
  const place = document.querySelector("#stage");
  if (!place || place.getBoundingClientRect().top >= 0) return;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  place.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
};

// Typing into a filter of the gallery takes the place of what it says.
document.addEventListener("focusin", (event) => {
  const field = event.target;
  if (!field.matches("#browse-filters input")) return;
  const said = field.value;
  field.select(); // at once, or a quick key is added to what it says and nothing is found
  setTimeout(() => field.value === said && field.select()); // a click sets the cursor after this event
});

// The last term that counts stays ticked: without any there is nothing to rank by.
document.addEventListener("click", (event) => {
  if (event.target.matches?.("#terms input") && !document.querySelector("#terms input:checked")) event.preventDefault();
}, true);

// The sidebar opens by the page's own button; Escape and its own arrow close it.
const sidebarToggle = () => document.querySelector(".sidebar .toggle-button");
document.addEventListener("click", (event) => event.target.closest("#open-settings") && sidebarToggle()?.click());
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.querySelector(".sidebar.open")) return;
  sidebarToggle().click();
  document.querySelector("#open-settings").focus();
});

// Escape and a click elsewhere close what an i has opened.
const closeCards = (but) => document.querySelectorAll(".about-run[open]").forEach((card) => {
  if (card !== but) card.open = false;
});
document.addEventListener("keydown", (event) => event.key === "Escape" && closeCards());
document.addEventListener("click", (event) => closeCards(event.target.closest(".about-run")));
// It opens on focus and under a pointer too, and closes when both have left it.
const cardOf = (event) => event.target.closest?.(".about-run");
document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return;
  const card = cardOf(event);
  if (card && !card.open) { card.open = true; card.dataset.over = "1"; }
  document.querySelectorAll(".about-run[data-over]").forEach((one) => {
    if (one === card) return;
    one.open = false;
    delete one.dataset.over;
  });
});
document.addEventListener("focusin", (event) => {
  const card = cardOf(event);
  if (card && event.target.matches("summary:focus-visible")) card.open = true;
  closeCards(card);
});
document.addEventListener("click", (event) => { // what hovering opened stays open after a click
  const card = cardOf(event);
  if (!card?.dataset.over || !event.target.closest("summary")) return;
  event.preventDefault();
  delete card.dataset.over;
}, true);
