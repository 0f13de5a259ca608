// The map page put together; in a frame, the map alone.

import { base } from "./base.js";
import * as list from "./list.js";
import { markers } from "./markers.js";
import { near } from "./near.js";
import { preview } from "./preview.js";
import * as state from "./state.js";

const { L } = globalThis;
const METROPOLITAN = L.latLngBounds([41.3, -5.2], [51.1, 9.6]);
const PAUSE = 350;

const board = document.getElementById("map");
const form = document.getElementById("filters");
const { words, labels, files, tiles, prefix, colour } = told(board.dataset);
const map = made();
const shownOn = markers(map, { words, labels, chosen: (...args) => box.show(...args), lit: list.light });
const box = preview(document.getElementById("preview"), { prefix, words, labels, city });
const departements = base(map, files, tiles);
const nearby = form && near(form, files.towns, { words, changed: () => changed(), tell: say });
let under = new AbortController();
let unseen = false;

function told({ words, labels, base, tiles, prefix, colour }) {
  return {
    words: JSON.parse(words), labels: JSON.parse(labels), files: JSON.parse(base),
    tiles: tiles && JSON.parse(tiles), prefix, colour,
  };
}

function made() {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const moving = !calm;
  const created = L.map(board, {
    zoomControl: false, minZoom: 3, maxZoom: 18, maxBoundsViscosity: 1, worldCopyJump: true, inertia: moving,
    zoomAnimation: moving, fadeAnimation: moving, markerZoomAnimation: moving,
  });
  L.control.zoom({ zoomInTitle: words.zoomIn, zoomOutTitle: words.zoomOut, position: "topright" }).addTo(created);
  created.attributionControl.setPrefix(false).addAttribution(words.base);
  created.fitBounds(METROPOLITAN, { animate: false });
  return created;
}

function city(id) {
  return document.querySelector(`#results li[data-id="${CSS.escape(id)}"] .city`)?.textContent;
}

function say(text) {
  const line = document.getElementById("said");
  if (line) line.textContent = text;
}

async function points(filters, signal) {
  const answer = await fetch("/points?" + filters, { headers: { Accept: "application/json" }, signal });
  if (!answer.ok) throw new Error(words.failed);
  return (await answer.json()).points;
}

/** Show what the address asks for: list and map at once. `filled`: the form as well. */
async function refresh({ url = location.href, filled = false, fit = false } = {}) {
  under.abort();
  under = new AbortController();
  const { signal } = under;
  box.hide(false);
  say("");
  try {
    const [found, page] = await Promise.all([points(state.asked(), signal), list.fetched(url, signal)]);
    list.swap(page, filled);
    nearby.shown();
    shownOn.load(found);
    if (fit) look(found);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message || words.failed);
  }
}

/** Bring places into view: all at first and near somewhere, later where none is to be seen. */
function look(found, first = false) {
  unseen = !map.getSize().x;
  if (unseen) return;
  const seen = map.getBounds();
  const there = found.map(([lon, lat]) => [lat, lon]);
  const kept = !first && !state.asked().has("near") && there.some((each) => seen.contains(each));
  if (!there.length || kept) return;
  const home = there.filter((each) => METROPOLITAN.contains(each));
  map.fitBounds(L.latLngBounds(home.length ? home : there), { maxZoom: 13, padding: [30, 30] });
}

function changed() {
  const address = state.address(state.said(form));
  if (address === location.pathname + location.search + location.hash) return;
  history.pushState(null, "", address);
  refresh({ fit: true });
}

function turned(event) {
  const link = event.target.closest(".turn a, #clear");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href") + location.hash);
  // What was pressed is gone then: the focus goes to where one reads on.
  const next = link.id === "clear" ? () => form.elements.q : () => document.querySelector("#results a");
  refresh({ filled: true }).then(() => {
    document.querySelector("section.list").scrollTo(0, 0);
    next()?.focus();
  });
}

function listen() {
  let waiting = 0;
  form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  form.addEventListener("change", (event) => event.target.name && changed());
  form.elements.q.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(changed, PAUSE);
  });
  document.querySelector("main").addEventListener("click", turned);
  document.getElementById("departements").addEventListener("change", (event) => departements(event.target.checked));
  form.querySelector("[type=submit]").hidden = true;
  const sides = document.querySelector(".sides");
  sides.hidden = false;
  side("list");
  sides.addEventListener("click", (event) => event.target.dataset.side && side(event.target.dataset.side));
  list.watch(document.querySelector("section.list"), shownOn.highlight);
  addEventListener("popstate", () => { put(); refresh({ filled: true }); });
}

/** On a narrow screen, the list or the map. */
function side(name) {
  document.body.dataset.side = name;
  for (const button of document.querySelectorAll(".sides button")) {
    button.setAttribute("aria-pressed", String(button.dataset.side === name));
  }
  map.invalidateSize({ animate: false });
}

function put() {
  const view = state.view();
  if (view) map.setView(view.centre, view.zoom, { animate: false });
  return view;
}

function paint() {
  if (!colour) return;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  document.body.style.setProperty("--mark", colour);
  document.body.style.setProperty("--mark-ink", 299 * red + 587 * green + 114 * blue > 140_000 ? "#000" : "#fff");
}

paint();
const kept = put();
if (form) {
  listen();
  nearby.shown();
}
points(state.asked()).then((found) => {
  shownOn.load(found);
  if (!kept) look(found, true);
  board.dataset.ready = "";
  if (form) map.on("moveend", () => map.getSize().x && state.keep(map));
  map.on("resize", () => unseen && look(shownOn.points(), true));
}, () => say(words.failed));
