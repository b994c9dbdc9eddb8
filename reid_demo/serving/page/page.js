// A link needs this page's own address, which only the browser knows.
window.fullLink = (query) => {
  const linked = Boolean(query?.startsWith("?"));
  writeAddress(linked ? query : null);
  return linked ? window.location.origin + window.location.pathname + query : query;
};

// Each probe is a place in the browser's history: Back and Forward lead from probe to probe, each as it was left. A
// change is no place; the page's own Undo takes it back. The address of a place is the link of its view; a picture of
// the visitor's own has none, and is brought back as long as the visit keeps it.
let here = null; // the place that is shown, with its step in the history
let shown = "", going = 0; // the place on the stage; ways that the browser went and the page has not followed yet
const steps = new Map(); // place -> its step
function addressOf(query) {
  const values = new URLSearchParams(query);
  for (const [name, value] of new URLSearchParams(window.location.search)) if (name.startsWith("__")) values.set(name, value);
  const written = values.toString();
  return window.location.pathname + (written && `?${written}`);
}
function stand(place, step, how, address) {
  here = { place, step };
  steps.set(place, step);
  window.history[how](here, "", address);
}
let opened = false; // the first link is that of the address, which stays as it was written
let early = null; // a link that came while the browser was still on its way
function writeAddress(query) { // null: this view has no link
  if (going) early = query;
  else if (opened && query && here) window.history.replaceState(here, "", addressOf(query));
  opened = true;
}
window.showPlace = (place) => {
  shown = place;
  if (going || here?.place === place) return;
  if (here) stand(place, here.step + 1, "pushState", addressOf(""));
  else stand(place, window.history.state?.step ?? 0, "replaceState", window.location.href);
};
window.addEventListener("popstate", ({ state }) => {
  if (!state?.place || (!going && state.place === here?.place)) return;
  going += 1;
  document.dispatchEvent(new CustomEvent("place", { detail: { place: state.place, address: window.location.search.slice(1) } }));
});
window.wentToPlace = () => setTimeout(() => { // once the stage is drawn
  going -= 1;
  if (going) return;
  const { place, step = here.step } = window.history.state ?? {};
  const link = early;
  early = null;
  if (!place || shown === place || !steps.has(shown))
    stand(shown, step, "replaceState", link ? addressOf(link) : window.location.href); // settings may differ from then
  else { // the page could not follow, so the browser comes back
    here = { place: shown, step: steps.get(shown) };
    window.history.go(here.step - step);
  }
}, 200);

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
  setTimeout(() => { // a click sets the cursor after this event; to select gives a field that was left the focus
    if (document.activeElement === field && field.value === said) field.select();
  });
});

// The last term that counts stays ticked: without any there is nothing to rank by.
document.addEventListener("click", (event) => {
  if (event.target.matches?.("#terms input") && !document.querySelector("#terms input:checked")) event.preventDefault();
}, true);

// Gradio ranks again once a pointer lets go of the slider; a key that has moved it counts as well.
document.addEventListener("keyup", ({ key, target }) => {
  if (target.matches?.("#top-k input[type=range]") && /^(Arrow|Page|Home|End)/.test(key))
    target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
});

// The sidebar opens by the page's own button; Escape and its own arrow close it.
const sidebarToggle = () => document.querySelector(".sidebar .toggle-button");
document.addEventListener("click", (event) => {
  if (!event.target.closest("#open-settings")) return;
  sidebarToggle()?.click();
  if (event.detail) return; // a key pressed it, and goes on in what it opened
  setTimeout(() => document.querySelector(".sidebar.open :is(input, button:not(.toggle-button))")?.focus(), 100);
});
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
