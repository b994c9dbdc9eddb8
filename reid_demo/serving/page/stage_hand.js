// What the visitor does on the stage: drag, paint, crop, press, type, paste and drop.
const LEAST = 0.08, STEP = 0.05, SETTLE_MS = 150, DOUBLE_MS = 500, DOUBLE_PX = 10;
let inHand = false, settled = null, waitsFor = null; // a block in the hand; the box that the page is to confirm
let mode = "block", frame = null; // or "paint" or "crop", with the frame of the crop
let wiping = null; // until a stroke that the page draws itself by now is taken off the canvas
let ended = null; // the click that ended painting or cropping, where other buttons came then

const changed = () => Boolean(state && (state.chips.length || box));
const undoable = () => changed() || Boolean(state && state.undoable); // also that all was shown again
const act = (verb, values = {}) => {
  settleNow(); // what was let go just now comes before what is done next
  if (verb !== "settle") waitsFor = null;
  tell("act", { verb, ...looking(), ...values });
};

function placeBlock() {
  const block = find(".stage-block"), shown = mode === "crop" ? frame : box;
  block.hidden = !shown;
  if (shown) {
    const [x0, y0, x1, y1] = shown.map((side) => side * 100);
    block.style.cssText = `left:${x0}%;top:${y0}%;width:${x1 - x0}%;height:${y1 - y0}%`;
  }
  const fill = state ? state.fill : "mean_grey";
  block.dataset.fill = mode === "crop" ? "frame" : fill;
  block.classList.toggle("drawn", mode !== "crop" && Boolean(state && state.covered) && !inHand);
  block.setAttribute("aria-label", mode === "crop" ? words.frame : words.block);
  for (const button of element.querySelectorAll("[data-kind]")) {
    const place = setup.boxes[button.dataset.kind];
    const on = place ? same(place, box) : Boolean(state && state.kinds.includes(button.dataset.kind));
    button.setAttribute("aria-pressed", String(on));
  }
  for (const [verb, can] of [["undo", undoable()], ["back", changed()]])
    for (const button of element.querySelectorAll(`[data-verb="${verb}"]`))
      button.setAttribute("aria-disabled", String(!can));
  markExample();
  const last = [...element.querySelectorAll(".stage-chip")].at(-1); // the block's, which says what the page knows of it
  if (last) last.classList.toggle("behind", Boolean(state && state.box && box && !same(box, state.box)));
}

function markExample() { // lit as long as it is seen as it was shipped; after a change it is where this came from
  if (!state) return;
  find(".stage-examples small").hidden = !state.own;
  const plain = state.usual && state.fill === "mean_grey" && state.chips.length === (state.box ? 1 : 0);
  for (const button of element.querySelectorAll("[data-example]")) {
    const view = setup.examples[button.dataset.example], from = view.source === state.source;
    const shipped = from && plain && Boolean(same(box, view.box));
    button.setAttribute("aria-current", String(shipped));
    button.classList.toggle("origin", from && !shipped);
    button.title = from && !shipped ? words.again : "";
  }
}

function showProbe() {
  const picture = find(".stage-probe img"), uri = state.covered && !inHand && mode !== "crop" ? state.covered : state.probe;
  if (picture.src !== uri) picture.src = uri;
  if (probeImage.src !== (state.covered || state.probe)) probeImage.src = state.covered || state.probe;
  find("#fill").value = state.fill;
  if (find("#compare")) find("#compare").setAttribute("aria-pressed", String(comparing));
}

find(".stage-probe img").addEventListener("load", (event) => { // in its own proportions
  const { naturalWidth: wide, naturalHeight: tall } = event.target;
  find(".stage-probe").style.setProperty("--shape", wide / tall);
});

function placeChips() { // on a phone beside the probe, where the hand is
  const chips = find(".stage-chips"), tools = find(".stage-tools"), rows = find(".stage-rows");
  if (window.innerWidth <= PHONE) tools.append(chips);
  else if (chips.parentNode !== rows) rows.prepend(chips);
}

function drawChips() {
  const chips = find(".stage-chips");
  placeChips();
  const held = [...chips.children].indexOf(document.activeElement);
  chips.replaceChildren(...state.chips.map((what, step) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "stage-chip";
    chip.textContent = `${what}\u00a0✕`;
    chip.setAttribute("aria-label", say(words.remove, { what }));
    chip.addEventListener("click", () => act("remove", { step }));
    return chip;
  }));
  const next = chips.children[Math.min(held, chips.children.length - 1)] ?? find("#more");
  if (held >= 0) next.focus({ preventScroll: true }); // or the keyboard would start anew at the top
}

function move(next) {
  if (same(next, box)) return;
  box = next;
  placeBlock();
  ask();
}

function settle() { // tell the page: the change is made once, where the block was let go
  clearTimeout(settled);
  settled = setTimeout(settleNow, SETTLE_MS);
}

function settleNow() {
  if (!settled) return;
  clearTimeout(settled);
  settled = null;
  waitsFor = { box, since: Date.now() };
  act("settle", { box });
}

function overtaken(next) { // whether the visitor has moved the block on since the page drew what it sends now
  const old = waitsFor && Date.now() - waitsFor.since < PATIENCE_MS && !same(next, waitsFor.box);
  if (!old) waitsFor = null;
  return inHand || settled || old;
}

function shift([x0, y0, x1, y1], dx, dy) {
  dx = clamp(dx, -x0, 1 - x1);
  dy = clamp(dy, -y0, 1 - y1);
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}

const stretch = ([x0, y0, x1, y1], dx, dy) => [x0, y0, clamp(x1 + dx, x0 + LEAST, 1), clamp(y1 + dy, y0 + LEAST, 1)];

function setBlock(next) {
  if (mode !== "crop") { move(next); return; }
  frame = next;
  placeBlock();
}

function setMode(next) {
  mode = mode === next ? "block" : next;
  frame = mode === "crop" ? [0.1, 0.05, 0.9, 0.95] : null;
  find(".stage").dataset.mode = mode;
  find("#paint").setAttribute("aria-pressed", String(mode === "paint"));
  find("#crop-by-hand").setAttribute("aria-pressed", String(mode === "crop"));
  const bar = find(".stage-mode"), held = bar.contains(document.activeElement) || document.activeElement?.closest(".stage-block");
  bar.hidden = mode === "block"; // it takes the place of the buttons that move the block
  find(".stage-halves").classList.toggle("away", mode !== "block");
  for (const one of bar.querySelectorAll("[data-mode]")) one.hidden = one.dataset.mode !== mode;
  if (state) showProbe();
  placeBlock();
  if (mode === "crop") find(".stage-block").focus();
  else if (mode === "paint") find("#mode-end").focus();
  else if (held) find("#more").focus();
}

function openDrawer(open) {
  find("#stage-drawer").hidden = !open;
  find("#more").setAttribute("aria-expanded", String(open));
}

// A click elsewhere closes what More has opened, and so does the keyboard when it leaves.
for (const kind of ["pointerdown", "focusin"])
  document.addEventListener(kind, ({ target }) => {
    const drawer = find("#stage-drawer");
    if (!drawer.hidden && !drawer.contains(target) && !target.closest?.("#more")) openDrawer(false);
  });

// A block or a frame in the hand.
element.addEventListener("pointerdown", (event) => {
  const block = event.target.closest(".stage-block");
  if (!block || !state || mode === "paint" || event.button > 0 || !event.isPrimary) return;
  block.setPointerCapture(event.pointerId);
  const change = event.target.matches("i") ? stretch : shift;
  const start = mode === "crop" ? frame : box, size = find(".stage-probe").getBoundingClientRect();
  inHand = mode !== "crop";
  showProbe();
  placeBlock();
  const onMove = (to) => {
    if (to.pointerId !== event.pointerId) return; // a second finger
    setBlock(change(start, (to.clientX - event.clientX) / size.width, (to.clientY - event.clientY) / size.height));
  };
  const onUp = (by) => {
    if (by.pointerId !== event.pointerId) return;
    inHand = false;
    block.removeEventListener("pointermove", onMove);
    block.removeEventListener("pointerup", onUp);
    block.removeEventListener("pointercancel", onUp);
    if (mode !== "crop" && !same(start, box)) settle();
    else { showProbe(); placeBlock(); }
  };
  block.addEventListener("pointermove", onMove);
  block.addEventListener("pointerup", onUp);
  block.addEventListener("pointercancel", onUp);
});

// A stroke of the brush, after the brush was chosen.
element.addEventListener("pointerdown", (event) => {
  const probe = event.target.closest(".stage-probe");
  if (!probe || mode !== "paint" || !state || event.button > 0 || !event.isPrimary) return;
  event.preventDefault();
  clearTimeout(wiping);
  probe.setPointerCapture(event.pointerId);
  const size = probe.getBoundingClientRect(), canvas = probe.querySelector("canvas"), pen = canvas.getContext("2d");
  canvas.width = size.width;
  canvas.height = size.height;
  const colours = { mean_grey: "rgb(124,116,104)", black: "#000" };
  pen.strokeStyle = pen.fillStyle = colours[state.fill] || "rgba(124,116,104,.75)";
  pen.lineWidth = Math.max(2, setup.brush * size.width);
  pen.lineCap = pen.lineJoin = "round";
  const stroke = [];
  const onMove = (to) => {
    if (to.pointerId !== event.pointerId) return;
    const point = [(to.clientX - size.left) / size.width, (to.clientY - size.top) / size.height];
    if (stroke.length) {
      pen.beginPath();
      pen.moveTo(...stroke.at(-1).map((side, i) => side * [size.width, size.height][i]));
      pen.lineTo(point[0] * size.width, point[1] * size.height);
      pen.stroke();
    }
    if (stroke.length < 2000) stroke.push(point);
  };
  const onUp = (by) => {
    if (by.pointerId !== event.pointerId) return;
    probe.removeEventListener("pointermove", onMove);
    probe.removeEventListener("pointerup", onUp);
    probe.removeEventListener("pointercancel", onUp);
    act("paint", { stroke });
    wiping = setTimeout(() => pen.clearRect(0, 0, canvas.width, canvas.height), 1500);
  };
  onMove(event);
  probe.addEventListener("pointermove", onMove);
  probe.addEventListener("pointerup", onUp);
  probe.addEventListener("pointercancel", onUp);
});

element.addEventListener("keydown", (event) => {
  if (event.target.closest('[role="toolbar"]') && walk(event)) return;
  const shown = mode === "crop" ? frame : box;
  if (!event.target.closest(".stage-block") || !shown) return;
  const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  const arrow = arrows[event.key];
  const away = mode === "block" && ["Delete", "Backspace", "Escape"].includes(event.key);
  const cuts = mode === "crop" && event.key === "Enter";
  if (!arrow && !away && !cuts) return;
  event.preventDefault();
  if (cuts) { cropNow(); return; }
  if (arrow) setBlock((event.shiftKey ? stretch : shift)(shown, ...arrow));
  else {
    move(null);
    find("#more").focus({ preventScroll: true }); // what had the focus is gone
  }
  if (mode === "block") settle();
});

function walk(event) { // one stop for the keyboard, with arrows from button to button
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return false;
  const buttons = [...event.target.closest('[role="toolbar"]').querySelectorAll("button")];
  const next = buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length];
  for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
  next.focus();
  event.preventDefault();
  return true;
}

function cropNow() {
  const cut = frame;
  setMode("block");
  act("crop", { box: cut });
}

function endsTwice({ detail, timeStamp, clientX, clientY }) { // the second half of a double click; a key has no detail
  const near = ended && Math.hypot(clientX - ended.clientX, clientY - ended.clientY) < DOUBLE_PX;
  return detail && near && timeStamp - ended.timeStamp < DOUBLE_MS;
}

function press(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  if (button.closest("#stage-drawer")) { // the choice is made
    openDrawer(false);
    find("#more").focus({ preventScroll: true });
  }
  const { kind, verb, example } = button.dataset, place = kind && setup.boxes[kind];
  if (place) { // the block goes there; a place that is hidden is shown again
    move(same(place, box) ? null : place);
    settle();
  } else if (kind) act("hide", { kind });
  else if (verb) act(verb);
  else if (example) act("example", { number: Number(example) });
  else if (button.id === "more") openDrawer(find("#stage-drawer").hidden);
  else if (button.id === "paint") setMode("paint");
  else if (button.id === "crop-by-hand") setMode("crop");
  else if (button.id === "crop-now") cropNow();
  else if (button.id === "mode-end") setMode("block");
  else if (button.id === "own-picture") uploadInput()?.click();
  else if (button.id === "compare") {
    comparing = !comparing;
    button.setAttribute("aria-pressed", String(comparing));
    explained = null;
    if (!comparing) draw();
    ask();
    tell("compare", looking());
  }
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button"), before = mode;
  if (button && state && !endsTwice(event)) press(button);
  if (before !== "block" && mode === "block") ended = event;
});
document.addEventListener("place", ({ detail }) => { // the browser's Back or Forward
  settleNow(); // what was let go just now belongs to the probe that is left
  waitsFor = null;
  tell("go", detail);
});
document.addEventListener("keydown", (event) => { // wherever the focus is
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (mode !== "block") setMode("block");
  else if (!find("#stage-drawer").hidden) {
    openDrawer(false);
    find("#more").focus();
  }
});
document.addEventListener("keydown", (event) => { // as in any editor
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (undoable()) act("undo");
});
find("#fill").addEventListener("change", (event) => act("fill", { fill: event.target.value }));

const uploadInput = () => document.querySelector(`input[data-testid="${words.upload}-upload-button"]`);

// A picture that is pasted or dropped anywhere goes the way of an upload. Browsers may not know what HEIC, TIFF or
// JPEG 2000 are; the server reads them or says why not.
const asPicture = (file) => {
  const suffix = /\.(heic|heif|tiff?|jp2|j2k|jpx)$/i.exec(file.name)?.[1];
  if (file.type.startsWith("image/")) return file;
  return suffix && new File([file], file.name, { type: `image/${suffix.toLowerCase()}` });
};
function bring(files) {
  const picture = [...(files || [])].map(asPicture).find(Boolean);
  const input = uploadInput();
  if (!picture || !input) return false;
  const list = new DataTransfer();
  list.items.add(picture);
  input.files = list.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}
document.addEventListener("paste", (event) => {
  if (!event.target.closest?.("input, textarea") && bring(event.clipboardData?.files)) event.preventDefault();
});
document.addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (event.target.closest?.("#own-files") || !event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault(); // the browser would open a file that is no picture, and leave the page
  bring(event.dataTransfer.files);
});

// A large picture takes long to arrive. It is left out where another one was chosen meanwhile.
const nameOf = (name, size) => `${size} ${name}`;
let awaited = ""; // the file that was chosen last; empty: something else was chosen since
document.addEventListener("change", ({ target }) => {
  if (target === uploadInput() && target.files[0]) awaited = nameOf(target.files[0].name, target.files[0].size);
}, true);
document.addEventListener("click", (event) => { if (event.target.closest?.(words.choosers)) awaited = ""; }, true);
// Gradio never gets the answer of an upload that is no longer awaited: it would replace the newer picture, perhaps before
// the page has read that.
const fetched = window.fetch;
window.fetch = async (address, options) => {
  const file = options?.body instanceof FormData && options.body.get("files");
  const sent = file && awaited === nameOf(file.name, file.size) ? awaited : "";
  const answer = await fetched(address, options);
  return sent && sent !== awaited ? new Promise(() => {}) : answer;
};
window.ifAwaited = (picture) => {
  const { orig_name: name, size } = [picture].flat()[0] || {};
  return name && nameOf(name, size) === awaited ? picture : null;
};

watch("value", take);
new ResizeObserver(() => { draw(); placeChips(); }).observe(find('[data-row="now"]'));
// What stays in sight on a phone lies right below the sentence, however many lines that has.
const spoken = find(".stage-say > p");
new ResizeObserver(() => find(".stage").style.setProperty("--say", `${spoken.offsetHeight}px`)).observe(spoken);
take();
