// What the page shows: one network of page.json at a time, run by one runtime.

import { RUNTIMES, hasGpu, open } from "./engines.js";
import { latents } from "./gallery.js";
import { paper } from "./paper.js";
import { fitted, opened, show, toBytes } from "./pictures.js";

const PICTURES = 16; // of a gallery
const $ = (id) => document.getElementById(id);

let page, network, engine, sheet;
let picture = null; // the last one given: a function that draws it for the present network
let turn = 0; // work that was begun before the last change is not shown

async function start() {
  const response = await fetch("page.json");
  if (!response.ok) throw new Error("page.json is missing from this page's folder: export the page again.");
  page = await response.json();
  document.title = $("title").textContent = page.title;
  $("description").textContent = page.description;
  for (const [name, value] of Object.entries(page.facts)) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, value];
    $("facts").append(term, text);
  }
  if (!page.networks.length) {
    $("settings").hidden = true;
    return say("There is nothing to show.");
  }
  if (page.networks[0].files.rest) {
    document.querySelector("footer").textContent = "Pictures go to the server that this page comes from, and nowhere else.";
  }
  fill($("network"), page.networks.map(({ name }) => [name, name]));
  $("network-row").hidden = page.networks.length < 2;
  listen();
  await choose(0);
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}

async function choose(index) {
  network = page.networks[index];
  const gpu = await hasGpu();
  const known = Object.entries(RUNTIMES).filter(([name, { kind }]) => network.files[kind] && (gpu || !name.endsWith("webgpu")));
  fill($("runtime"), known.map(([name, { title }]) => [name, title]));
  $("translate").hidden = network.kind !== "translate";
  $("generate").hidden = network.kind !== "generate";
  if (network.kind === "translate") {
    const [, height, width] = size();
    sheet.shape(width, height);
    blank($("input"), width, height);
    blank($("output"), width, height);
  } else chooseLabels();
  await run(known.map(([name]) => name));
}

// Height and width that a network leaves open are the page's to choose.
const size = () => network.inputs[network.picture].shape.map((n, i) => n ?? [1, 256, 256][i]);

function blank(canvas, width, height) {
  [canvas.width, canvas.height] = [width, height];
}

function chooseLabels() {
  const { label } = network.inputs;
  const attributes = network.labels === "attributes";
  $("label-row").hidden = !label || attributes;
  $("attributes").hidden = !label || !attributes;
  if (!label) return;
  const numbers = Array.from({ length: label.shape[1] }, (_, i) => String(i));
  fill($("label"), [["", "all in turn"], ...numbers.map((n) => [n, n])]);
  if (!attributes) return;
  const boxes = numbers.map((n) => {
    const [row, box] = [document.createElement("label"), document.createElement("input")];
    box.type = "checkbox";
    row.append(box, ` ${n}`);
    return row;
  });
  $("attributes").replaceChildren($("attributes").firstElementChild, ...boxes);
}

// Opens the first of these runtimes that gives what Keras gives, and shows what it makes of what was given last.
async function run(names) {
  const mine = ++turn;
  engine?.close();
  engine = null;
  say(`Loading ${RUNTIMES[names[0]].title} …`);
  const { kind } = RUNTIMES[names[0]];
  try {
    const made = await open(names[0], network.files[kind]);
    if (mine !== turn) return made.close();
    engine = made;
  } catch (error) {
    if (mine !== turn) return;
    if (names.length > 1 && names[0].endsWith("webgpu")) return run(names.slice(1));
    return complain(error);
  }
  $("runtime").value = names[0];
  const proven = network.files[kind].golden ? ", within one level of Keras on the golden picture" : "";
  say(`Ready: ${RUNTIMES[names[0]].title}${proven}.`);
  keep();
  await (network.kind === "generate" ? generate() : translate());
}

function say(text) {
  $("status").textContent = text;
  $("problem").hidden = true;
}

function complain(error) {
  $("status").textContent = "";
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

const attempt = (work) => (event) => Promise.resolve(event).then(work).catch(complain);

async function translate() {
  if (!picture || !engine) return;
  const mine = ++turn;
  const [, height, width, channels] = size();
  const pixels = picture(width, height, channels === 4);
  const data = toBytes(pixels, channels);
  show($("input"), pixels.data, [1, height, width, 4]);
  const begun = performance.now();
  const output = await engine.run({ [network.picture]: { data, shape: [1, height, width, channels] } });
  if (mine !== turn) return;
  show($("output"), output.data, output.shape);
  $("time").textContent = `${(performance.now() - begun).toFixed(1)} ms`;
  $("problem").hidden = true;
  $("save").hidden = false;
  $("save").download = `${network.name}.png`;
  $("save").href = $("output").toDataURL("image/png");
}

async function generate() {
  if (!engine) return;
  const mine = ++turn;
  const chosen = $("label").value;
  const boxes = [...$("attributes").querySelectorAll("input")];
  const labels = (i, length) =>
    boxes.length
      ? boxes.map((box) => Number(box.checked))
      : Array.from({ length }, (_, k) => Number(k === (chosen === "" ? i % length : Number(chosen))));
  const begun = performance.now();
  const made = [];
  for (const inputs of latents(network, Number($("seed").value), PICTURES, labels)) {
    const output = await engine.run(inputs);
    if (mine !== turn) return;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Picture ${made.length + 1} of seed ${$("seed").value}`);
    show(canvas, output.data, output.shape);
    made.push(canvas);
  }
  $("gallery").replaceChildren(...made);
  const each = (performance.now() - begun) / PICTURES;
  $("gallery-time").textContent = `${PICTURES} pictures, ${each.toFixed(1)} ms each`;
}

// The paper lies where the picture is, beside what becomes of it.
function drawing(on) {
  $("draw-tools").hidden = $("paper").hidden = !on;
  $("input").hidden = on;
  $("pair").classList.toggle("drawing", on);
  $("draw").setAttribute("aria-pressed", String(on));
  if (on) $("paper").focus();
}

async function take(file) {
  if (!file) return;
  drawing(false);
  const bitmap = await opened(file);
  picture = (width, height, alpha) => fitted(bitmap, width, height, alpha);
  await translate();
}

async function camera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    throw new Error("The camera can't be had: allow it to this page, and open the page by https or from this machine.");
  }
  $("video").srcObject = stream;
  $("camera-tools").hidden = false;
}

function cameraOff() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("camera-tools").hidden = true;
}

async function shoot() {
  drawing(false);
  const bitmap = await createImageBitmap($("video"));
  picture = (width, height) => fitted(bitmap, width, height);
  await translate();
}

function listen() {
  sheet = paper($("paper"), { pen: $("pen"), color: $("color"), changed: attempt(drawn) });
  function drawn() {
    picture = (width, height) => fitted($("paper"), width, height);
    return translate();
  }
  $("network").onchange = attempt(() => choose($("network").selectedIndex));
  $("runtime").onchange = attempt(() => run([$("runtime").value]));
  $("settings").onsubmit = () => false;
  $("choose").onclick = () => $("file").click();
  $("file").onchange = attempt(() => take($("file").files[0]));
  $("camera").onclick = attempt(camera);
  $("camera-off").onclick = cameraOff;
  $("shoot").onclick = attempt(shoot);
  $("draw").onclick = () => drawing($("paper").hidden);
  $("undo").onclick = () => sheet.undo();
  $("clear").onclick = () => sheet.clear();
  document.ondragover = (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  };
  document.ondragleave = () => $("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    attempt(() => take(file))();
  };
  document.onpaste = (event) => attempt(() => take(event.clipboardData.files[0]))();
  $("seeds").onsubmit = (event) => {
    event.preventDefault();
    attempt(generate)();
  };
  $("next").onclick = attempt(() => {
    $("seed").value = (Number($("seed").value) + 1) % 2 ** 32;
    return generate();
  });
  $("label").onchange = $("attributes").onchange = attempt(generate);
}

// From now on, the page works without a network, as far as it has been used.
async function keep() {
  if (!("serviceWorker" in navigator) || page.networks[0].files.rest) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    const used = performance.getEntriesByType("resource").map(({ name }) => name);
    const kept = await caches.open("kerasgen");
    const missing = [];
    for (const url of new Set([location.href, ...used.filter((url) => url.startsWith("http"))])) {
      if (!(await kept.match(url))) missing.push(url);
    }
    await kept.addAll(missing);
    document.documentElement.dataset.kept = "yes";
  } catch (error) {
    console.info("The page is not kept for use without a network:", error.message);
  }
}

start().catch(complain);
