// Places near somebody who says so, or near a commune by its name.

import { read } from "./base.js";

/** Let people choose; `changed()` is called when they have, `tell(text)` with what goes wrong. */
export function near(form, url, { words, changed, tell }) {
  const field = form.elements.near;
  const [where, km] = [form.querySelector(".where"), form.querySelector(".km")];
  let towns = null;
  form.querySelector("#around").hidden = false;

  function set(lat, lon) {
    field.disabled = false;
    field.value = [lat.toFixed(4), lon.toFixed(4), km.value].join(",");
    changed();
  }

  function forget() {
    [field.value, field.disabled] = ["", true];
    changed();
  }

  async function known() {
    towns ??= (await read(url)).map(([name, lon, lat]) => ({ name, lon, lat, key: plain(name) }));
    return towns;
  }

  async function suggest() {
    const begun = plain(where.value);
    if (begun.length < 2) return;
    const found = (await known()).filter((town) => town.key.startsWith(begun)).slice(0, 8);
    form.querySelector("#communes").replaceChildren(...found.map(({ name }) => new Option(name, name)));
  }

  async function named() {
    if (!where.value.trim()) return forget();
    const key = plain(where.value);
    // The list begins with the largest ones.
    const found = (await known()).find((town) => town.key === key)
      ?? towns.find((town) => town.key.startsWith(key));
    if (!found) return tell(words.unknown);
    where.value = found.name;
    return set(found.lat, found.lon);
  }

  where.addEventListener("input", suggest);
  where.addEventListener("change", named);
  where.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    named();
  });
  km.addEventListener("change", () => {
    if (field.value) set(...field.value.split(",").slice(0, 2).map(Number));
  });
  form.querySelector(".me").addEventListener("click", () => {
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => { where.value = ""; set(coords.latitude, coords.longitude); },
      () => tell(words.away),
    );
  });

  /** Show in the form what the address asks for. */
  async function shown() {
    const [lat, lon, reach] = field.value.split(",").map(Number);
    if (!field.value) { where.value = ""; return; }
    if ([...km.options].some((option) => Number(option.value) === reach)) km.value = reach;
    if (!where.value && lat) where.value = closest(await known(), lat, lon);
  }

  return { shown };
}

function plain(text) {
  return text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[^a-z0-9]+/gi, " ").trim().toLowerCase();
}

function closest(towns, lat, lon) {
  const apart = (town) => (town.lat - lat) ** 2 + ((town.lon - lon) * Math.cos((lat * Math.PI) / 180)) ** 2;
  return towns.reduce((best, town) => (apart(town) < apart(best) ? town : best)).name;
}
