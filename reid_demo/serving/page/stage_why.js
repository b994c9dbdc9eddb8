// Why the chosen candidate scores what it scores: a bar for each part, and where a part looks on both pictures.
const seen = new Map(); // gallery row -> its picture and maps, or the promise of them
const probeImage = new Image();
let matchImage = null, matchShown = ""; // the picture of the match that is drawn, and which one is to be
let mapsAsked = null;
const MAPS_MS = 200; // that a candidate is explained while a block is dragged, before its maps are asked for
let lit = null; // number of the part that the visitor points at, 0 is the whole person; null: the strongest one
let held = null; // the part that was tapped or focused, which stays lit

const bytesOf = (coded) => Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
function number(value, digits, plus = "") { // as drawing/figures.py writes numbers for people
  const size = Math.abs(value).toFixed(digits);
  return Number(size) ? (value < 0 ? "−" : plus) + size : size;
}
const signed = (value) => number(value, 3, "+");

function strongest(terms) {
  let best = 0;
  for (let i = 1; i < terms.length; i++) if (!best || terms[i] > terms[best]) best = i;
  return best;
}

function partShown() {
  const part = lit ?? held ?? strongest(state.shown.why.terms);
  return part < state.shown.why.terms.length ? part : 0;
}

function drawHeat(canvas, image, maps, part) { // in its own proportions; the network sees the whole picture
  if (!image.complete || !image.naturalWidth) return;
  const tall = 320, wide = Math.round(tall * clamp(image.naturalWidth / image.naturalHeight, 0.25, 1.2));
  if (canvas.width !== wide || canvas.height !== tall) { canvas.width = wide; canvas.height = tall; }
  const pen = canvas.getContext("2d");
  pen.filter = part && maps ? "grayscale(1)" : "none";
  pen.drawImage(image, 0, 0, wide, tall);
  pen.filter = "none";
  if (canvas.dataset.side === "probe" && box && !state.covered) {
    pen.fillStyle = state.fill === "black" ? "#000" : "rgb(124, 116, 104)";
    pen.fillRect(box[0] * wide, box[1] * tall, (box[2] - box[0]) * wide, (box[3] - box[1]) * tall);
  }
  if (!part || !maps) return;
  const [h, w] = state.shown.why.grid, cells = bytesOf(maps).subarray((part - 1) * h * w, part * h * w);
  const small = document.createElement("canvas");
  small.width = w;
  small.height = h;
  const pixels = new ImageData(w, h);
  cells.forEach((step, i) => pixels.data.set([...setup.palette.slice(3 * step, 3 * step + 3), 255], 4 * i));
  small.getContext("2d").putImageData(pixels, 0, 0);
  pen.globalAlpha = 0.62;
  pen.imageSmoothingEnabled = true;
  pen.drawImage(small, 0, 0, wide, tall);
  pen.globalAlpha = 1;
}

function drawPictures() {
  const why = state.shown.why, part = partShown(), match = seen.get(why.index);
  const name = setup.names[part];
  drawHeat(find('canvas[data-side="probe"]'), probeImage, why.maps, part);
  const ready = match && !(match instanceof Promise), wanted = `${why.index} ${ready ? "with maps" : "as a tile"}`;
  if (matchShown !== wanted) {
    matchShown = wanted;
    loadMatch(ready ? match.picture : pictures.get(why.index), wanted);
  }
  if (matchImage?.dataset.of === wanted) drawHeat(find('canvas[data-side="match"]'), matchImage, ready && match.maps, part);
  for (const canvas of element.querySelectorAll(".stage-pair canvas")) canvas.setAttribute("aria-label", `${canvas.dataset.side}, ${name}`);
  for (const row of element.querySelectorAll(".stage-part")) {
    row.classList.toggle("lit", Number(row.dataset.part) === part);
    row.setAttribute("aria-current", String(Number(row.dataset.part) === part));
  }
}

async function loadMatch(address, wanted) { // until its maps are there, a match is shown as its tile
  const image = new Image(), uri = await address;
  image.dataset.of = wanted;
  image.onload = () => {
    if (matchShown !== wanted) return;
    matchImage = image;
    drawPictures();
  };
  if (uri) image.src = uri;
}

async function fetchMaps(row) {
  if (seen.has(row) || !state.token) return;
  const answer = server.maps({ token: state.token, row });
  seen.set(row, answer);
  try {
    const found = await answer;
    if (seen.get(row) !== answer) return; // another gallery came meanwhile, whose row this is not
    if (!found || found.error) seen.delete(row);
    else seen.set(row, found);
  } catch {
    if (seen.get(row) === answer) seen.delete(row);
  }
  if (state.shown.why.index === row && seen.has(row)) drawPictures();
}

function makeParts(list, count) {
  list.replaceChildren();
  for (let i = 0; i < count; i++) {
    const row = document.createElement("button");
    row.type = "button";
    row.className = "stage-part";
    row.dataset.part = i;
    row.title = setup.about[i] || "";
    row.innerHTML = '<span></span><i class="track"><i class="bar"></i><i class="was"></i></i><em></em>';
    row.firstChild.textContent = setup.names[i];
    row.addEventListener("pointerenter", () => { lit = i; drawPictures(); });
    row.addEventListener("pointerleave", () => { lit = null; drawPictures(); });
    row.addEventListener("focus", () => { held = i; drawPictures(); });
    row.addEventListener("click", () => { held = i; drawPictures(); });
    list.append(row);
  }
}

function listExplained() {
  const { now, compared } = state.shown, place = setup.compared.indexOf(explained);
  return (comparing && compared[place]) || now;
}

function drawWhy() {
  const why = state.shown.why, list = find(".stage-parts");
  if (list.children.length !== why.terms.length) makeParts(list, why.terms.length);
  const values = [...why.terms, ...why.terms_before], most = Math.max(...values.map(Math.abs), 0.01);
  const zero = values.some((value) => value < -0.0005) ? 20 : 0, full = 100 - zero;
  [...list.children].forEach((row, i) => {
    const now = why.terms[i], was = why.terms_before[i], bar = row.querySelector(".bar"), mark = row.querySelector(".was");
    const long = (Math.abs(now) / most) * (now < 0 ? zero : full);
    bar.style.left = `${now < 0 ? zero - long : zero}%`;
    bar.style.width = `${long}%`;
    bar.classList.toggle("minus", now < 0);
    mark.style.left = `${zero + (was / most) * (was < 0 ? zero : full)}%`;
    mark.hidden = Math.abs(now - was) < 0.0005;
    row.querySelector("em").textContent = signed(now);
    row.setAttribute("aria-label", `${setup.names[i]} ${signed(now)}`);
  });
  const changed = Math.abs(why.similarity - why.was) >= 0.0005 ? `, ${say(words.was, { was: number(why.was, 3) })}` : "";
  const best = listExplained().right, other = why.right && best && best.index !== why.index;
  const by = why.weighing && comparing ? ` ${say(words.by, { weighing: why.weighing })}` : "";
  find("#stage-why-heading span").textContent = `${words.why} ${why.rank}${markOf(why.right)}${by}`;
  find("#stage-why-heading small").textContent = other ? say(words.other, { rank: best.rank }) : "";
  find("#stage-why-heading").title = why.name;
  find(".stage-sum b").textContent = `${number(why.similarity, 3)}${changed}`;
  find(".stage-lost").textContent = why.moved ? say(why.similarity < why.was ? words.lost : words.gained, { parts: why.moved }) : "";
  clearTimeout(mapsAsked);
  mapsAsked = setTimeout(() => fetchMaps(why.index), inHand ? MAPS_MS : 0);
  drawPictures();
}

async function drawMark() { // behind the verdict's i: what set the mark
  const place = find(".stage-mark");
  find(".stage-rates").textContent = state?.rates || "";
  place.replaceChildren();
  if (!state?.token) return;
  let found;
  try {
    found = await server.mark({ token: state.token });
  } catch {
    return; // the sentence above stands alone
  }
  if (!found || found.error || !found.interval) return; // nothing: the call failed, and the sentence above stands alone
  const said = document.createElement("p");
  said.textContent = found.interval;
  place.replaceChildren(said);
  [found.above, found.below].forEach((pairs, side) => {
    const head = document.createElement("h4"), row = document.createElement("div");
    head.textContent = found.heads[side];
    row.className = "stage-alarms";
    for (const pair of pairs) {
      const figure = document.createElement("figure"), words = document.createElement("figcaption");
      for (const [address, alt] of [[pair.probe, pair.words], [pair.match, ""]]) {
        const picture = document.createElement("img");
        picture.src = address;
        picture.alt = alt;
        figure.append(picture);
      }
      words.textContent = pair.similarity;
      figure.append(words);
      row.append(figure);
    }
    if (pairs.length) place.append(head, row);
  });
}
find(".stage-verdict details").addEventListener("toggle", (event) => event.target.open && drawMark());

probeImage.onload = () => state && drawPictures();
