// The image editor fits its picture only when its size changes, not when it gets a new picture: change the size a little,
// until the visitor takes hold of it.
let waitingFits = [];
window.fitProbe = () => {
  const box = document.querySelector("#canvas");
  if (!box) return;
  waitingFits.forEach(clearTimeout);
  waitingFits = [];
  for (const wait of [150, 700, 1600, 3000]) {
    waitingFits.push(setTimeout(() => {
      box.style.marginRight = "2px";
      setTimeout(() => { box.style.marginRight = ""; }, 120);
    }, wait));
  }
  for (const hold of ["pointerdown", "drop", "paste", "change"]) {
    box.addEventListener(hold, () => waitingFits.forEach(clearTimeout), { once: true, capture: true });
  }
};

// A link needs this page's own address, which only the browser knows.
window.fullLink = (query) =>
  query && query.startsWith("?") ? window.location.origin + window.location.pathname + query : query;

// A picture far down the page became the probe: show its ranking, where it is out of sight.
window.showRanking = () => {
  const place = document.querySelector("#ranking-side");
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

// The editor keeps a confirmed crop to itself until the picture is edited once more; its own redo, which has nothing to
// redo then, counts as that. A confirmed crop is searched with at once.
document.addEventListener("click", (event) => {
  if (!event.target.closest("#canvas .crop-confirm-button")) return;
  const waiting = setInterval(() => {
    if (document.querySelector("#canvas .crop-confirm-button")) return;
    clearInterval(waiting);
    const redo = [...document.querySelectorAll("#canvas .top-panel button")].at(-2);
    if (redo) {
      redo.disabled = false;
      redo.click();
      redo.disabled = true;
    }
    setTimeout(() => document.querySelector("#search").click(), 100);
  }, 50);
}, true);

// Escape and a click elsewhere close what an i has opened.
const closeCards = (but) => document.querySelectorAll(".about-run[open]").forEach((card) => {
  if (card !== but) card.open = false;
});
document.addEventListener("keydown", (event) => event.key === "Escape" && closeCards());
document.addEventListener("click", (event) => closeCards(event.target.closest(".about-run")));

// The canvas shows what the browser can decode. What it cannot (HEIC, TIFF, JPEG 2000) it would drop without a word.
const unshown = /\.(heic|heif|tiff?|jp2|j2k|jpx)$/i;
const refuseUnshown = (event) => {
  const canvas = event.target.closest && event.target.closest("#canvas");
  const from = event.dataTransfer || event.clipboardData || event.target;
  const file = canvas && [...(from.files || [])].find((one) => unshown.test(one.name));
  if (!file) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  canvas.parentElement.querySelector(".canvas-told")?.remove();
  const told = document.createElement("p");
  told.className = "canvas-told note";
  told.setAttribute("role", "alert");
  told.textContent = `Browsers cannot show ${file.name} on the canvas. Choose it with Upload a picture, or save it as ` +
    "JPEG or PNG.";
  canvas.after(told);
  setTimeout(() => told.remove(), 20000);
};
for (const kind of ["drop", "paste", "change"]) document.addEventListener(kind, refuseUnshown, true);
