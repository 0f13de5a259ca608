// Places on the map: buttons for places, and for clusters of those that lie close together.

const { L, Supercluster } = globalThis;
// Pixels, on tiles of 256.
const CLUSTERED = { radius: 60, extent: 256, maxZoom: 18 };
const MARGIN = 0.1;
// What is written in a cluster grows with the text that its reader wants.
const SCALE = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
const MOST_HERE = 50;

// Real buttons: the keyboard and screen readers know what to do with them.
const Button = L.Icon.extend({
  createIcon() {
    this._setIconStyles(this.options.button, "icon");
    return this.options.button;
  },
});

/** What shows places on a map. `chosen(points, from)` and `lit(id)` are told what people do with them. */
export function markers(map, { words, labels, chosen, lit }) {
  const there = new Map();
  const ring = L.marker([0, 0], {
    icon: L.divIcon({ className: "ring", iconSize: [40, 40] }), interactive: false, keyboard: false,
  });
  let points = [];
  let index = null;

  function load(found) {
    points = found;
    index = new Supercluster(CLUSTERED);
    index.load(found.map(([lon, lat], place) => (
      { type: "Feature", geometry: { type: "Point", coordinates: [lon, lat] }, properties: { place } }
    )));
    clear();
    render();
  }

  function clear() {
    for (const marker of there.values()) marker.remove();
    there.clear();
  }

  function render() {
    if (!index) return;
    const box = map.getBounds().pad(MARGIN);
    const seen = index.getClusters([box.getWest(), box.getSouth(), box.getEast(), box.getNorth()], map.getZoom());
    const focused = [...there.values()].find((marker) => marker.getElement() === document.activeElement);
    const wanted = new Map(seen.map((each) => [key(each), each]));
    for (const [name, marker] of there) {
      if (!wanted.has(name)) {
        marker.remove();
        there.delete(name);
      }
    }
    for (const [name, each] of wanted) if (!there.has(name)) there.set(name, placed(each));
    order(focused?.getElement());
    if (focused && !focused.getElement()) nearest(focused.getLatLng())?.focus({ preventScroll: true });
  }

  function placed(each) {
    const [lon, lat] = each.geometry.coordinates;
    const button = each.properties.cluster ? clusterButton(each) : placeButton(points[each.properties.place]);
    const size = each.properties.cluster ? 30 + 6 * Math.floor(Math.log10(each.properties.point_count)) : 24;
    const icon = new Button({ button, className: button.className, iconSize: [SCALE * size, SCALE * size] });
    return L.marker([lat, lon], { icon, interactive: false, keyboard: false }).addTo(map);
  }

  function clusterButton(each) {
    const button = made("cluster", words.cluster.replace("{count}", each.properties.point_count));
    button.textContent = each.properties.point_count_abbreviated;
    pressed(button, () => zoom(each, button));
    return button;
  }

  function placeButton(point) {
    const [, , id, name, status, families] = point;
    const about = families.split(";").filter(Boolean).map((code) => labels.family[code] ?? code);
    const button = made(`place ${status}`, [name, ...about].join(", "));
    pressed(button, () => chosen([point], button));
    for (const kind of ["mouseenter", "focus"]) button.addEventListener(kind, () => lit(id));
    for (const kind of ["mouseleave", "blur"]) button.addEventListener(kind, () => lit(null));
    return button;
  }

  function made(kind, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `spot ${kind}`;
    button.setAttribute("aria-label", name);
    return button;
  }

  function pressed(button, act) {
    button.addEventListener("click", (event) => {
      // The end of a drag that began on a button; a key has no detail.
      if (event.detail && map.dragging.moved()) return;
      event.stopPropagation();
      act();
    });
  }

  function zoom(each, button) {
    const nearer = index.getClusterExpansionZoom(each.id);
    if (nearer > map.getMaxZoom()) {
      const here = index.getLeaves(each.id, MOST_HERE).map((leaf) => leaf.properties.place);
      chosen(here.sort((a, b) => a - b).map((place) => points[place]), button);
      return;
    }
    button.focus({ preventScroll: true });
    map.setView([...each.geometry.coordinates].reverse(), nearer);
  }

  // Tab goes over the map as one reads: from north to south, from west to east.
  function order(focused) {
    const sorted = [...there.values()].sort((a, b) => b.getLatLng().lat - a.getLatLng().lat
      || a.getLatLng().lng - b.getLatLng().lng).map((marker) => marker.getElement());
    const turn = sorted.indexOf(focused);
    // Moved elements lose the focus, so the others are moved around the one that has it.
    sorted.forEach((element, at) => (at < turn ? focused.before(element) : at !== turn && pane().append(element)));
  }

  function pane() {
    return map.getPane("markerPane");
  }

  function nearest(position) {
    const near = [...there.values()].sort((a, b) => map.distance(a.getLatLng(), position)
      - map.distance(b.getLatLng(), position));
    return near[0]?.getElement() ?? map.getContainer();
  }

  function highlight(id) {
    const point = id && points.find((each) => each[2] === id);
    if (point) ring.setLatLng([point[1], point[0]]).addTo(map);
    else ring.remove();
  }

  map.on("moveend", render);
  return { load, highlight, points: () => points };
}

function key(each) {
  return each.properties.cluster ? `c${each.id}` : `p${each.properties.place}`;
}
