// The stage: a block that is dragged over the probe, and two rows of candidates that follow it.
// Gradio gives element, server, props, trigger and watch.
const find = (selector) => element.querySelector(selector);
const GAP = 8, LEAST = 0.08, STEP = 0.05, SLOW_MS = 400, PATIENCE_MS = 15000;
const pictures = new Map(); // gallery row -> its address, or the promise of it
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
let state = null; // what the server said last: token, box, before, shown
let box = null; // where the block is, fractions x0, y0, x1, y1; null: no block
let flying = false, wish, turn = 0; // one request is under way at most, with the newest wish beside it

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const same = (a, b) => a === b || (a && b && a.every((side, i) => Math.abs(side - b[i]) < 0.002));

function placeBlock() {
  const block = find(".stage-block");
  block.hidden = !box;
  if (box) {
    const percent = box.map((side) => side * 100);
    block.style.cssText = `left:${percent[0]}%;top:${percent[1]}%;width:${percent[2] - percent[0]}%;` +
      `height:${percent[3] - percent[1]}%`;
  }
  for (const button of element.querySelectorAll("[data-half]")) {
    const half = button.dataset.half ? button.dataset.half.split(",").map(Number) : null;
    button.setAttribute("aria-pressed", String(same(half, box)));
  }
}

async function fetchPictures(rows) {
  const missing = rows.filter((row) => !pictures.has(row));
  if (!missing.length) return;
  const answer = server.pictures({ token: state.token, rows: missing });
  for (const row of missing) pictures.set(row, answer.then((found) => found[row]));
  answer.then((found) => { if (found.error) missing.forEach((row) => pictures.delete(row)); },
    () => missing.forEach((row) => pictures.delete(row)));
}

function makeTile(row, tile, start) {
  const made = document.createElement(row.dataset.row === "now" ? "button" : "div");
  if (row.dataset.row === "now") made.type = "button";
  made.className = "stage-tile";
  made.dataset.index = tile.index;
  const picture = document.createElement("img"), rank = document.createElement("b"), words = document.createElement("span");
  picture.alt = "";
  words.append(rank, document.createElement("em"));
  words.lastChild.style.fontStyle = "normal";
  made.append(picture, words);
  made.style.opacity = 0;
  made.style.transform = `translateX(${start}px)`;
  made.addEventListener("click", () => row.dataset.row === "now" && trigger("choose", { index: tile.index }));
  row.append(made);
  Promise.resolve(pictures.get(tile.index)).then((uri) => { if (uri) picture.src = uri; });
  made.getBoundingClientRect(); // so that it glides from where it starts
  return made;
}

function drawRow(row, tiles, step, pinned) {
  const shown = new Set(tiles.map((tile) => String(tile.index)));
  tiles.forEach((tile, place) => {
    const x = place * step;
    const old = row.querySelector(`.stage-tile[data-index="${tile.index}"]:not(.leaving)`);
    const made = old || makeTile(row, tile, tiles.length * step);
    const mark = tile.right === null ? "" : tile.right ? " ✓" : " ✗";
    made.querySelector("b").textContent = `#${tile.rank}${mark}`;
    made.querySelector("em").textContent = tile.similarity === null ? "" : ` ${tile.similarity.toFixed(2)}`;
    made.setAttribute("aria-label", `#${tile.rank}${mark}, ${tile.name}`);
    made.title = tile.name;
    made.classList.toggle("right", tile.right === true);
    made.classList.toggle("wrong", tile.right === false);
    made.classList.toggle("pinned", tile === pinned);
    made.classList.toggle("chosen", row.dataset.row === "now" && tile.index === state.chosen);
    made.style.transform = `translateX(${x}px)`;
    made.style.opacity = 1;
  });
  for (const old of row.querySelectorAll(".stage-tile:not(.leaving)")) {
    if (shown.has(old.dataset.index)) continue;
    old.classList.add("leaving");
    old.style.opacity = 0;
    old.style.transform = `translateX(${tiles.length * step}px)`;
    setTimeout(() => old.remove(), still.matches ? 0 : 360);
  }
}

function fit(tiles, right, count) {
  const fitting = tiles.slice(0, count);
  if (right && !fitting.some((tile) => tile.index === right.index)) fitting[count - 1] = right;
  return fitting;
}

function draw() {
  if (!state) return;
  const rows = find(".stage-rows"), wide = rows.clientWidth;
  if (!wide) return;
  const count = clamp(Math.floor((wide + GAP) / (62 + GAP)), 4, 8);
  const tile = Math.min(wide > 700 ? 84 : 96, Math.floor((wide - GAP * (count - 1)) / count));
  rows.style.setProperty("--tile", `${tile}px`);
  const step = count > 1 ? Math.min((wide - tile) / (count - 1), tile * 1.35) : tile;
  const now = fit(state.shown.now, state.shown.right, count), before = state.before.slice(0, count);
  fetchPictures([...now, ...before].map((one) => one.index));
  const pinned = state.shown.right && now.at(-1) === state.shown.right && now.at(-1).rank > count ? now.at(-1) : null;
  drawRow(find('[data-row="now"]'), now, step, pinned);
  drawRow(find('[data-row="before"]'), before, step, null);
  const lines = find(".stage-lines");
  lines.replaceChildren();
  before.forEach((one, from) => {
    const to = now.findIndex((other) => other.index === one.index);
    if (to < 0) return;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("x1", to * step + tile / 2);
    line.setAttribute("x2", from * step + tile / 2);
    line.setAttribute("y1", 2);
    line.setAttribute("y2", 42);
    if (one.right) line.classList.add("right");
    lines.append(line);
  });
  find(".stage-say").textContent = state.shown.sentence;
}

async function ask() {
  if (flying) { wish = true; return; }
  flying = true;
  const asked = ++turn, slow = setTimeout(() => find(".stage-rows").classList.add("busy"), SLOW_MS);
  let answer;
  try {
    answer = await server.rank({ token: state.token, box });
  } catch {
    answer = { error: find(".stage").dataset.lost };
  }
  clearTimeout(slow);
  find(".stage-rows").classList.remove("busy");
  flying = false;
  if (asked === turn) { // else a whole new state came meanwhile, and this answer is stale
    if (answer.error) find(".stage-say").textContent = answer.error;
    else { state.shown = answer; draw(); }
  }
  if (wish) { wish = false; ask(); }
}

function move(next) {
  if (same(next, box)) return;
  box = next;
  placeBlock();
  ask();
}

let held = false, settled = null, waitsFor; // a block in the hand, and the box that the page is to confirm
function settle() { // tell the page: the change is made once, where the block was let go
  clearTimeout(settled);
  settled = setTimeout(() => {
    settled = null;
    waitsFor = { box, since: Date.now() };
    trigger("settle", { box });
  }, 150);
}

function overtaken(next) { // whether the visitor has moved the block on since the page drew what it sends now
  const old = waitsFor && Date.now() - waitsFor.since < PATIENCE_MS && !same(next, waitsFor.box);
  if (!old) waitsFor = null;
  return held || settled || old;
}

function shift([x0, y0, x1, y1], dx, dy) {
  dx = clamp(dx, -x0, 1 - x1);
  dy = clamp(dy, -y0, 1 - y1);
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}

const stretch = ([x0, y0, x1, y1], dx, dy) => [x0, y0, clamp(x1 + dx, x0 + LEAST, 1), clamp(y1 + dy, y0 + LEAST, 1)];

element.addEventListener("pointerdown", (event) => {
  const block = event.target.closest(".stage-block");
  if (!block || !state) return;
  block.setPointerCapture(event.pointerId);
  const change = event.target.matches("i") ? stretch : shift;
  const start = box, size = find(".stage-probe").getBoundingClientRect();
  const onMove = (to) =>
    move(change(start, (to.clientX - event.clientX) / size.width, (to.clientY - event.clientY) / size.height));
  held = true;
  const onUp = () => {
    held = false;
    block.removeEventListener("pointermove", onMove);
    if (!same(start, box)) settle();
  };
  block.addEventListener("pointermove", onMove);
  block.addEventListener("pointerup", onUp, { once: true });
  block.addEventListener("pointercancel", onUp, { once: true });
});

element.addEventListener("keydown", (event) => {
  if (!event.target.closest(".stage-block") || !box) return;
  const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  const arrow = arrows[event.key];
  if (arrow) move((event.shiftKey ? stretch : shift)(box, ...arrow));
  else if (event.key === "Delete" || event.key === "Backspace" || event.key === "Escape") move(null);
  else return;
  event.preventDefault();
  settle();
});

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-half]");
  if (!button || !state) return;
  const half = button.dataset.half ? button.dataset.half.split(",").map(Number) : null;
  move(same(half, box) ? null : half); // a half that is hidden is shown again
  settle();
});

function take() { // the page drew the stage anew
  const next = typeof props.value === "string" ? JSON.parse(props.value || "null") : props.value;
  if (!next) return;
  const moved = overtaken(next.box); // then the block and its newest wish stay
  if (!state || state.token !== next.token) pictures.clear();
  const shown = moved && state ? state.shown : next.shown;
  state = { ...next, shown };
  find(".stage-probe img").src = next.probe;
  if (moved) return;
  turn += 1;
  box = next.box;
  placeBlock();
  draw();
}

watch("value", take);
new ResizeObserver(draw).observe(find(".stage-rows"));
take();
