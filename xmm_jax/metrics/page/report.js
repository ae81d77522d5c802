"use strict";
// The page of one evaluation. All numbers and images are in the JSON of the element "data".
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};
const show = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

// ---- text and tables -------------------------------------------------------------------------

function fillHead() {
  document.title = data.title;
  $("title").textContent = data.title;
  $("verdict").textContent = data.verdict;
  for (const [name, value] of data.facts) {
    const pair = make("div");
    pair.append(make("dt", name), make("dd", value));
    $("facts").append(pair);
  }
  $("limit").textContent = data.limit;
  $("paper-note").textContent = data.paper_note;
  for (const text of data.how) $("how").append(make("p", text));
}

// rows: [{name, ours, values: {key: [mean, error]}}], columns: [{key, label, better, digits}]
function fillTable(table, columns, rows) {
  const sorted = { key: null, down: true };
  const limits = {};
  for (const { key, better } of columns) {
    const known = rows.filter((row) => row.contends && row.values[key] && row.values[key][0] !== null);
    if (!better || known.length < 2) continue;
    const sign = better === "high" ? 1 : -1;
    const best = known.reduce((a, b) => (sign * a.values[key][0] >= sign * b.values[key][0] ? a : b));
    limits[key] = (row) => {
      const [value, error] = row.values[key] || [null];
      if (value === null || value === undefined || !row.contends) return false;
      const room = Math.hypot(error || 0, best.values[key][1] || 0);
      return sign * (best.values[key][0] - value) <= room;
    };
  }
  const draw = () => {
    table.replaceChildren();
    const head = make("tr");
    head.append(make("th", "method", { scope: "col" }));
    for (const { key, label, title } of columns) {
      const cell = make("th", undefined, { scope: "col", title: title || label });
      const button = make("button", label + (sorted.key === key ? (sorted.down ? " ↓" : " ↑") : ""));
      button.onclick = () => {
        sorted.down = sorted.key === key ? !sorted.down : true;
        sorted.key = key;
        draw();
      };
      cell.append(button);
      head.append(cell);
    }
    const top = make("thead");
    top.append(head);
    const body = make("tbody");
    const order = [...rows];
    if (sorted.key) {
      const value = (row) => (row.values[sorted.key] || [null])[0] ?? -Infinity;
      order.sort((a, b) => (sorted.down ? value(b) - value(a) : value(a) - value(b)));
    }
    for (const row of order) {
      const line = make("tr");
      if (row.ours) line.className = "ours";
      line.append(make("td", row.name, { title: row.about || row.name }));
      for (const { key, digits } of columns) {
        const [value, error] = row.values[key] || [null, null];
        const cell = make("td", show(value, digits));
        if (error) cell.append(make("small", ` ±${show(error, digits)}`));
        if (limits[key] && limits[key](row)) cell.className = "best";
        line.append(cell);
      }
      body.append(line);
    }
    table.append(top, body);
  };
  draw();
}

// ---- images ----------------------------------------------------------------------------------

const A = 1e4; // of the logarithmic coding: rate = max (e^(code / 255 log(1 + A)) - 1) / A
const decoded = new Map();

function decode(image) {
  if (!decoded.has(image)) {
    decoded.set(image, new Promise((resolve, reject) => {
      const picture = new Image();
      picture.onload = () => {
        const canvas = make("canvas", undefined, { width: picture.width, height: picture.height });
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(picture, 0, 0);
        const rgba = context.getImageData(0, 0, picture.width, picture.height).data;
        const codes = new Uint8Array(picture.width * picture.height);
        for (let i = 0; i < codes.length; i++) codes[i] = rgba[4 * i];
        resolve({ codes, width: picture.width, height: picture.height });
      };
      picture.onerror = () => reject(new Error(`image ${image.name} cannot be read`));
      picture.src = image.src;
    }));
  }
  return decoded.get(image);
}

const valueOf = (image, code) =>
  image.kind === "residual" ? (code - 128) / 16 : (image.max * Math.expm1((code / 255) * Math.log1p(A))) / A;

const stretches = {
  linear: (x) => x,
  sqrt: (x) => Math.sqrt(x),
  asinh: (x) => Math.asinh(x / 0.02) / Math.asinh(1 / 0.02),
  log: (x) => Math.log1p(1000 * x) / Math.log1p(1000),
};

// Colour of each of the 256 codes of an image under a stretch.
function palette(image, stretch, white) {
  const colours = new Uint8ClampedArray(1024);
  for (let code = 0; code < 256; code++) {
    let place, map;
    if (image.kind === "residual") {
      place = 0.5 + valueOf(image, code) / 10;
      map = data.colours.residual;
    } else {
      place = stretches[stretch](Math.min(1, valueOf(image, code) / white));
      map = data.colours.rate;
    }
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, place)));
    for (let k = 0; k < 3; k++) colours[4 * code + k] = map[at + k];
    colours[4 * code + 3] = 255;
  }
  return colours;
}

async function paint(image, stretch, white) {
  const { codes, width, height } = await decode(image);
  const colours = palette(image, stretch, white);
  const canvas = make("canvas", undefined, { width, height });
  const pixels = new ImageData(width, height);
  for (let i = 0; i < codes.length; i++)
    for (let k = 0; k < 4; k++) pixels.data[4 * i + k] = colours[4 * codes[i] + k];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return { canvas, image, codes, width, height };
}

// ---- viewer ----------------------------------------------------------------------------------

// x, y: centre of the view in shares of the frame; zoom 1 shows the whole frame.
const view = { x: 0.5, y: 0.5, zoom: 1, blink: 0 };
let field = data.shown[0];
let painted = [];
let timer = 0;

const whiteRate = () => field.max * 10 ** Number($("white").value);

function fillChoices() {
  data.shown.forEach((one, i) => $("field").append(make("option", one.label, { value: i })));
  for (const side of ["left", "right"])
    field.images.forEach((image, i) => $(side).append(make("option", image.name, { value: i })));
  $("left").value = field.left;
  $("right").value = field.right;
}

async function repaint() {
  const wanted = [field.images[$("left").value], field.images[$("right").value]];
  painted = await Promise.all(wanted.map((image) => paint(image, $("stretch").value, whiteRate())));
  draw();
}

// Where a painted image lies on a canvas: scale [canvas pixel per image pixel] and corner.
function place(canvas, one) {
  const scale = (Math.min(canvas.width / one.width, canvas.height / one.height)) * view.zoom;
  return { scale, left: canvas.width / 2 - view.x * one.width * scale, top: canvas.height / 2 - view.y * one.height * scale };
}

function drawOn(canvas, one, from, to, label) {
  const context = canvas.getContext("2d");
  const { scale, left, top } = place(canvas, one);
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, canvas.height);
  context.clip();
  context.imageSmoothingEnabled = false;
  context.drawImage(one.canvas, left, top, one.width * scale, one.height * scale);
  context.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
  const end = label === "right" ? to - 8 : from + 8;
  context.textAlign = label === "right" ? "right" : "left";
  context.lineWidth = 4;
  context.strokeStyle = "#000";
  context.strokeText(one.image.name, end, 20 * devicePixelRatio);
  context.fillStyle = "#fff";
  context.fillText(one.image.name, end, 20 * devicePixelRatio);
  context.restore();
}

function draw() {
  if (!painted.length) return;
  const mode = $("mode").value;
  const pair = mode === "pair";
  $("second").hidden = !pair;
  $("split").disabled = mode !== "slider";
  for (const canvas of [$("view"), $("second")]) {
    if (canvas.hidden) continue;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  }
  const canvas = $("view");
  if (pair) {
    drawOn(canvas, painted[0], 0, canvas.width, "left");
    drawOn($("second"), painted[1], 0, $("second").width, "left");
  } else if (mode === "blink") {
    drawOn(canvas, painted[view.blink], 0, canvas.width, "left");
  } else {
    const border = (canvas.width * $("split").value) / 1000;
    drawOn(canvas, painted[0], 0, border, "left");
    drawOn(canvas, painted[1], border, canvas.width, "right");
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(border - 1, 0, 2, canvas.height);
  }
  document.body.dataset.view = JSON.stringify({ ...view, mode, split: Number($("split").value), field: field.name });
}

function setMode(mode) {
  $("mode").value = mode;
  clearInterval(timer);
  if (mode === "blink") timer = setInterval(() => { view.blink = 1 - view.blink; draw(); }, 600);
  draw();
}

function zoomBy(factor, atX = 0.5, atY = 0.5) {
  const before = view.zoom;
  view.zoom = Math.min(40, Math.max(1, before * factor));
  const shift = (1 / before - 1 / view.zoom);
  view.x += (atX - 0.5) * shift;
  view.y += (atY - 0.5) * shift;
  settle();
}

function settle() {
  const half = 0.5 / view.zoom;
  view.x = Math.min(1 - half, Math.max(half, view.x));
  view.y = Math.min(1 - half, Math.max(half, view.y));
  draw();
}

// Share of the frame under a pointer, and what is there.
function under(event) {
  const canvas = event.currentTarget;
  const box = canvas.getBoundingClientRect();
  const one = canvas === $("second") ? painted[1] : painted[0];
  const { scale, left, top } = place(canvas, one);
  return {
    x: ((event.clientX - box.left) * devicePixelRatio - left) / (one.width * scale),
    y: ((event.clientY - box.top) * devicePixelRatio - top) / (one.height * scale),
  };
}

function readOut(at) {
  if (!(at.x >= 0 && at.x < 1 && at.y >= 0 && at.y < 1)) return;
  const parts = painted.map((one) => {
    const column = Math.floor(at.x * one.width);
    const row = Math.floor(at.y * one.height);
    const value = valueOf(one.image, one.codes[row * one.width + column]);
    return `${one.image.name} ${one.image.kind === "residual" ? value.toFixed(1) + " σ" : value.toExponential(2) + " count/s"}`;
  });
  const x = Math.floor(at.x * data.frame[0]);
  const y = Math.floor((1 - at.y) * data.frame[1]);
  $("readout").textContent = `pixel (${x}, ${y}) of the input: ${parts.join(" · ")}`;
}

function listen(canvas) {
  const touches = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => touches.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    readOut(under(event));
    const old = touches.get(event.pointerId);
    if (!old) return;
    if (touches.size === 2) {
      const other = [...touches.values()].find((touch) => touch.pointerId !== event.pointerId);
      const span = (touch) => Math.hypot(touch.clientX - other.clientX, touch.clientY - other.clientY);
      zoomBy(span(event) / Math.max(1, span(old)));
    } else {
      const { scale } = place(canvas, painted[0]);
      view.x -= ((event.clientX - old.clientX) * devicePixelRatio) / (painted[0].width * scale);
      view.y -= ((event.clientY - old.clientY) * devicePixelRatio) / (painted[0].height * scale);
      settle();
    }
    touches.set(event.pointerId, event);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY / 400), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }, { passive: false });
  canvas.addEventListener("keydown", onKey);
}

function onKey(event) {
  const step = 0.1 / view.zoom;
  const actions = {
    ArrowLeft: () => { view.x -= step; settle(); }, ArrowRight: () => { view.x += step; settle(); },
    ArrowUp: () => { view.y -= step; settle(); }, ArrowDown: () => { view.y += step; settle(); },
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: whole,
    b: () => setMode("blink"), s: () => setMode("slider"), p: () => setMode("pair"), x: swap,
    "[": () => choose(Number($("field").value) - 1), "]": () => choose(Number($("field").value) + 1),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

function whole() {
  Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 });
  draw();
}

function swap() {
  [$("left").value, $("right").value] = [$("right").value, $("left").value];
  repaint();
}

async function choose(number) {
  const count = data.shown.length;
  number = (number + count) % count;
  field = data.shown[number];
  $("field").value = number;
  $("white").value = field.white;
  $("strip").innerHTML = field.strip;
  await repaint();
  await fillStretches();
}

async function fillStretches() {
  $("stretches").replaceChildren();
  const image = field.images[field.right];
  for (const option of $("stretch").options) {
    const figure = make("figure");
    const { canvas } = await paint(image, option.value, whiteRate());
    figure.append(canvas, make("figcaption", `${image.name}, ${option.textContent}`));
    $("stretches").append(figure);
  }
}

function connect() {
  $("field").onchange = () => choose(Number($("field").value));
  for (const id of ["left", "right", "stretch"]) $(id).onchange = repaint;
  $("white").oninput = repaint;
  $("white").onchange = fillStretches;
  $("split").oninput = draw;
  $("mode").onchange = () => setMode($("mode").value);
  $("closer").onclick = () => zoomBy(1.5);
  $("farther").onclick = () => zoomBy(1 / 1.5);
  $("whole").onclick = whole;
  $("swap").onclick = swap;
  listen($("view"));
  listen($("second"));
  addEventListener("resize", draw);
}

// ---- the page --------------------------------------------------------------------------------

function fillFigures() {
  for (const { title, caption, picture } of data.figures) {
    const section = make("section", undefined, { class: "figure" });
    section.append(make("h2", title), make("p", caption, { class: "note" }));
    const frame = make("div");
    frame.innerHTML = picture; // made by the report itself
    section.append(frame);
    $("figures").append(section);
  }
}

fillHead();
fillTable($("summary"), data.summary.columns, data.summary.rows);
fillTable($("paper"), data.paper.columns, data.paper.rows);
fillTable($("fields"), data.fields.columns, data.fields.rows);
fillFigures();
if (data.shown.length) {
  fillChoices();
  connect();
  choose(0).then(() => { document.body.dataset.ready = "yes"; });
} else {
  $("viewer").hidden = true;
}
