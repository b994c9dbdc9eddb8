// The stage: a block that is dragged over the probe, and two rows of candidates that follow it.
// Gradio gives element, server, props, trigger and watch. Here: state, rows of tiles, calls; in stage_why.js the
// explanation, in stage_hand.js what the visitor does.
const find = (selector) => element.querySelector(selector);
const setup = JSON.parse(find(".stage").dataset.setup), words = setup.words;
const GAP = 8, SLOW_MS = 400, PATIENCE_MS = 15000, OVERTAKE_MS = 5000, GLIDE_MS = 360, COMES_FROM = 24, PHONE = 860;
const pictures = new Map(); // gallery row -> its address, or the promise of it
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
let state = null; // what the server said last: token, box, before, shown
let box = null; // where the block is, fractions x0, y0, x1, y1; null: no block
let comparing = false, explained = null; // of which of the two weighings Why speaks; null: of the page's own
let chosen = null; // gallery row that the visitor chose since; null: the server's choice
const untold = []; // what the visitor did and the page was not told of yet, in order
let telling = null; // until the page has done what it was told; not for long, as a busy server's refusal is no answer
let flying = false, wish = false, turn = 0; // one request is under way at most, with the newest wish beside it

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const same = (a, b) => a === b || (a && b && a.every((side, i) => Math.abs(side - b[i]) < 0.002));
const say = (pattern, values) => pattern.replace(/\{(\w+)\}/g, (whole, name) => values[name]);
const orLost = (answer) => answer ?? { error: words.lostServer }; // Gradio answers a call that failed with nothing
const markOf = (right) => (right === null ? "" : right ? " ✓" : " ✗");
const meansOf = (right) => setup.marks[right === null ? "unknown" : right ? "right" : "wrong"];

async function fetchPictures(rows) {
  const missing = [...new Set(rows)].filter((row) => !pictures.has(row));
  if (!missing.length || !state.token) return;
  const answer = server.pictures({ token: state.token, rows: missing }).then(orLost);
  const asked = new Map(missing.map((row) => [row, answer.then((found) => found[row])]));
  for (const [row, uri] of asked) pictures.set(row, uri);
  const forget = () => asked.forEach((uri, row) => pictures.get(row) === uri && pictures.delete(row)); // a tile asks again
  answer.then((found) => { if (found.error) forget(); }, forget);
}

function showPicture(tile) {
  Promise.resolve(pictures.get(Number(tile.dataset.index))).then((uri) => { if (uri) tile.querySelector("img").src = uri; });
}

function makeTile(row, tile, place, rise) { // it comes from beside its place, or falls from the row above
  const made = document.createElement("button");
  made.type = "button";
  made.className = "stage-tile";
  made.dataset.index = tile.index;
  const picture = document.createElement("img"), rank = document.createElement("b"), score = document.createElement("span");
  picture.alt = "";
  made.append(picture, rank, score);
  made.style.opacity = 0;
  made.style.transform = rise ? `translate(${place}px, ${-rise}px)` : `translateX(${place + COMES_FROM}px)`;
  made.classList.add("coming"); // below the tiles that are there, so that no caption is printed over another
  setTimeout(() => made.classList.remove("coming"), still.matches ? 0 : GLIDE_MS);
  made.addEventListener("click", () => choose(tile.index, row.dataset.row));
  row.append(made);
  showPicture(made);
  made.getBoundingClientRect(); // so that it glides from where it starts
  return made;
}

function drawRow(row, tiles, step, { pinned = null, rise = 0, called = "", explains = true } = {}) {
  const shown = new Set(tiles.map((tile) => String(tile.index)));
  tiles.forEach((tile, place) => {
    const old = row.querySelector(`.stage-tile[data-index="${tile.index}"]:not(.leaving)`);
    const made = old || makeTile(row, tile, place * step, rise);
    if (old && !old.querySelector("img").src) showPicture(old); // its picture did not come the first time
    made.querySelector("b").textContent = `${tile.rank}${markOf(tile.right)}`;
    made.querySelector("span").textContent = number(tile.similarity, 2);
    const label = say(words.tile, { rank: tile.rank, name: tile.name, mark: meansOf(tile.right) });
    made.setAttribute("aria-label", called ? say(words.tileOf, { row: called, tile: label }) : label);
    made.title = tile.name;
    made.classList.toggle("right", tile.right === true);
    made.classList.toggle("wrong", tile.right === false);
    made.classList.toggle("pinned", tile === pinned);
    made.classList.toggle("far", tile.rank > 99);
    made.classList.toggle("chosen", tile.index === state.shown.why.index);
    made.classList.toggle("elsewhere", !explains);
    made.setAttribute("aria-pressed", String(explains && tile.index === state.shown.why.index));
    made.style.transform = `translateX(${place * step}px)`;
    made.style.opacity = 1;
    if (row.children[place] !== made) row.insertBefore(made, row.children[place] || null); // the keyboard's order
  });
  for (const old of row.querySelectorAll(".stage-tile:not(.leaving)")) {
    if (shown.has(old.dataset.index)) continue;
    old.classList.add("leaving");
    old.tabIndex = -1;
    old.style.opacity = 0;
    setTimeout(() => old.remove(), still.matches ? 0 : GLIDE_MS);
  }
}

function fit({ tiles, right }, count) { // the right person is pinned at the end when it has left the row
  const fitting = tiles.slice(0, count);
  if (right && !fitting.some((tile) => tile.index === right.index)) fitting[count - 1] = right;
  return fitting;
}

function below(upper, count) { // the ranking before; of an untouched probe, whose ranking that is, the next candidates
  const { changed, now, more } = state.shown;
  if (changed) return state.before.tiles.slice(0, count);
  const shown = new Set(upper.map((tile) => tile.index));
  return [...now.tiles, ...more].filter((tile) => !shown.has(tile.index)).slice(0, count);
}

const nextWords = (lower) => (lower.length ? say(words.next, { first: lower[0].rank, last: lower.at(-1).rank }) : "");
const pinnedOf = (tiles, count) => (tiles.length === count && tiles.at(-1).rank > count ? tiles.at(-1) : null);

function drawLines(upper, lower, step, tile) {
  const lines = find(".stage-lines");
  lines.replaceChildren();
  lower.forEach((one, from) => {
    const to = upper.findIndex((other) => other.index === one.index);
    if (to < 0) return;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const ends = { x1: to * step + tile / 2, x2: from * step + tile / 2, y1: 2, y2: 34 };
    for (const [name, value] of Object.entries(ends)) line.setAttribute(name, value);
    if (one.right) line.classList.add("right");
    lines.append(line);
  });
}

function draw() {
  if (!state) return;
  const now = find('[data-row="now"]'), wide = now.clientWidth;
  if (!wide) return;
  const phone = window.innerWidth <= PHONE;
  const count = clamp(Math.floor((wide + GAP) / ((phone ? 56 : 64) + GAP)), 4, 8);
  const tile = Math.min(phone ? 60 : 92, Math.floor((wide - GAP * (count - 1)) / count));
  find(".stage").style.setProperty("--tile", `${tile}px`);
  const step = Math.min((wide - tile) / (count - 1), tile * 1.4);
  const both = comparing && state.shown.compared.length === 2;
  const upper = fit(both ? state.shown.compared[0] : state.shown.now, count);
  const lower = both ? fit(state.shown.compared[1], count) : below(upper, count);
  fetchPictures([...upper, ...lower].map((one) => one.index));
  const before = find('[data-row="before"]'), kind = both ? "compared" : state.shown.changed ? "before" : "next";
  const falls = kind === "before" && before.dataset.kind === "next"; // what was the ranking makes room for the new one
  before.dataset.kind = kind;
  const names = both ? [words.cosine, words.part_aware] : [words.now, kind === "before" ? words.before : nextWords(lower)];
  const explains = setup.compared.map((name) => !both || name === (explained ?? state.weighing));
  drawRow(now, upper, step, { pinned: pinnedOf(upper, count), called: both ? names[0] : "", explains: explains[0] });
  drawRow(before, lower, step, {
    pinned: both ? pinnedOf(lower, count) : null,
    rise: falls ? before.offsetTop - now.offsetTop : 0,
    called: names[1],
    explains: explains[1],
  });
  drawLines(upper, kind === "next" ? [] : lower, step, tile);
  find('[data-name="now"]').textContent = names[0];
  find('[data-name="before"]').textContent = names[1];
  const spoken = find(".stage-say p");
  if (spoken.textContent !== state.shown.sentence) spoken.textContent = state.shown.sentence;
  find(".stage-verdict b").textContent = state.shown.verdict;
  find(".stage-warning").textContent = state.shown.warning;
  drawWhy();
}

async function ask() {
  if (!state || !state.token) { wish = true; return; }
  if (flying) { wish = true; return; }
  flying = true;
  wish = false;
  const asked = ++turn, slow = setTimeout(() => find(".stage").classList.add("busy"), SLOW_MS);
  const request = { token: state.token, box, chosen, ...looking() };
  let answer;
  try {
    answer = orLost(await server.rank(request));
  } catch {
    answer = { error: words.lostServer };
  }
  clearTimeout(slow);
  find(".stage").classList.remove("busy");
  flying = false;
  if (asked === turn) { // else a whole new state came meanwhile, and this answer is stale
    if (answer.error) find(".stage-say p").textContent = answer.error;
    else { state.shown = answer; draw(); }
  }
  if (wish) ask();
}

const looking = () => ({ compare: comparing, explained });

function choose(index, row) { // at once here, and for the rest of the page; of the list that it stands in
  chosen = index;
  if (comparing) explained = setup.compared[row === "now" ? 0 : 1];
  ask();
  tell("choose", { index, ...looking() });
}

function tell(name, values) { // the page, once the visit is opened; one thing after another, as requests may overtake each other
  untold.push([name, values]);
  tellNext();
}

function tellNext() {
  if (telling || !state.token || !untold.length) return;
  telling = setTimeout(window.wasTold, OVERTAKE_MS);
  trigger(...untold.shift());
}

window.wasTold = () => { // the page has done it, well or not
  clearTimeout(telling);
  telling = null;
  tellNext();
};

function take() { // the page drew the stage anew
  const next = typeof props.value === "string" ? JSON.parse(props.value || "null") : props.value;
  if (!next) { // no picture is left to rank
    if (!state) return;
    turn += 1;
    state.shown = { ...state.shown, sentence: words.none, verdict: "", warning: "" };
    draw();
    return;
  }
  const moved = overtaken(next.box); // then the block and its newest wish stay
  const other = state && state.gallery !== next.gallery;
  if (other) { // whose rows are other pictures
    pictures.clear();
    seen.clear();
    matchShown = "";
    matchImage = chosen = null;
    turn += 1; // an answer under way names rows of the one before
    element.querySelectorAll(".stage-tile").forEach((tile) => tile.remove());
  }
  for (const [row, uri] of Object.entries(next.pictures || {})) pictures.set(Number(row), uri);
  for (const [row, maps] of Object.entries(next.maps || {})) seen.set(Number(row), maps);
  state = moved && state && !other ? { ...next, shown: state.shown } : next;
  if (!moved) { comparing = next.compare; explained = next.explained; }
  showProbe();
  drawChips();
  if (state.token) window.showPlace(state.place);
  tellNext();
  if (moved) { // a wish from before the visit was opened goes out now
    if (wish || other) ask();
    return;
  }
  turn += 1;
  box = next.box;
  chosen = null;
  placeBlock();
  draw();
  if (wish) ask();
}
