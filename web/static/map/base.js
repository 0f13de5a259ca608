// The base map, from the service itself: land, rivers and towns; départements and tiles where somebody wants them.

const { L } = globalThis;
// Which towns have their name on the map, by zoom: the least number of inhabitants.
const PEOPLE = [[5, 250_000], [6, 120_000], [7, 50_000], [8, 25_000], [9, 10_000], [10, 4_000], [22, 1_000]];
const MOST = 70;
const MARGIN = 150;

/** Draw the base map; whatever cannot be had of it is left out. Gives what shows and hides départements. */
export function base(map, files, tiles) {
  for (const [name, order] of [["ground", 150], ["lines", 160], ["towns", 350]]) {
    map.createPane(name).style.zIndex = order;
    map.getPane(name).style.pointerEvents = "none";
  }
  const layers = [
    layer(map, files.around, L.polygon, "ground", () => ({ stroke: false, fillColor: colour("--abroad"), fillOpacity: 1 })),
    layer(map, files.france, L.polygon, "ground", () => (
      { weight: 1, color: colour("--coast"), fillColor: colour("--land"), fillOpacity: 1 })),
    layer(map, files.rivers, L.polyline, "lines", () => ({ weight: 1.2, color: colour("--river") })),
  ];
  const departements = layer(map, files.departements, L.polyline, "lines", () => (
    { weight: 1, color: colour("--border"), dashArray: "3 3" }));
  layers.forEach((each) => each.show(true));
  const names = new Names(files.towns);
  names.addTo(map);
  if (tiles) L.tileLayer(tiles.url, { attribution: escaped(tiles.attribution), maxZoom: 19 }).addTo(map);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    [...layers, departements].forEach((each) => each.restyle());
    names.draw();
  });
  return (shown) => departements.show(shown);
}

function layer(map, url, draw, pane, style) {
  const renderer = L.canvas({ pane, padding: 0.3 });
  let drawn = null;
  const fetched = async () => {
    const { geometries } = await read(url);
    const depth = draw === L.polygon ? 1 : 0;
    const lines = geometries.map(({ coordinates }) => L.GeoJSON.coordsToLatLngs(coordinates, depth));
    return draw(lines, { ...style(), pane, renderer, interactive: false });
  };
  return {
    async show(shown) {
      drawn ??= fetched().catch(() => null);
      const each = await drawn;
      if (shown) each?.addTo(map);
      else each?.remove();
    },
    async restyle() {
      (await drawn)?.setStyle(style());
    },
  };
}

// A layer of names costs less than an element for each, and no reader of a screen needs it.
const Names = L.Layer.extend({
  initialize(url) {
    this._towns = read(url).catch(() => []);
  },
  onAdd(map) {
    this._canvas = L.DomUtil.create("canvas", "", map.getPane("towns"));
    this._canvas.setAttribute("aria-hidden", "true");
    map.on("zoomstart", () => { this._canvas.hidden = true; });
    map.on("moveend resize", this.draw, this);
    this.draw();
  },
  async draw() {
    const towns = await this._towns;
    const size = this._map.getSize().add([2 * MARGIN, 2 * MARGIN]);
    const ratio = devicePixelRatio;
    L.DomUtil.setPosition(this._canvas, this._map.containerPointToLayerPoint([-MARGIN, -MARGIN]));
    [this._canvas.width, this._canvas.height] = [size.x * ratio, size.y * ratio];
    [this._canvas.style.width, this._canvas.style.height] = [`${size.x}px`, `${size.y}px`];
    this._canvas.hidden = false;
    const pen = this._canvas.getContext("2d");
    pen.scale(ratio, ratio);
    written(pen, this._seen(towns));
  },
  // Names that have room, those of large towns first.
  _seen(towns) {
    const least = PEOPLE.find(([zoom]) => this._map.getZoom() <= zoom)[1];
    const bounds = this._map.getBounds().pad(0.2);
    const taken = [];
    for (const [name, lon, lat, people] of towns) {
      if (people < least || taken.length === MOST) break;
      if (!bounds.contains([lat, lon])) continue;
      const at = this._map.latLngToContainerPoint([lat, lon]).add([MARGIN, MARGIN]);
      const box = { name, x: at.x, y: at.y, width: 7 * name.length + 16, large: people >= 100_000 };
      if (!taken.some((other) => meet(box, other))) taken.push(box);
    }
    return taken;
  },
});

function meet(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && Math.abs(a.y - b.y) < 18;
}

function written(pen, names) {
  const [ink, halo] = [colour("--town"), colour("--land")];
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.textBaseline = "middle";
  for (const { name, x, y, large } of names) {
    pen.font = `${large ? 600 : 400} ${large ? 13 : 12}px system-ui, sans-serif`;
    [pen.fillStyle, pen.strokeStyle] = [ink, halo];
    pen.beginPath();
    pen.arc(x, y, large ? 2.5 : 2, 0, 7);
    pen.fill();
    pen.strokeText(name, x + 6, y);
    pen.fillText(name, x + 6, y);
  }
}

/** A file of the base map. */
export async function read(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(url);
  return answer.json();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function escaped(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element.innerHTML;
}
