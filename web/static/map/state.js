// What the address says: filters in the query, the view in the fragment.

const VIEW = /^#(\d+)\/(-?\d+(?:\.\d+)?)\/(-?\d+(?:\.\d+)?)$/;
// Of a page and not of its places.
const APART = ["page", "name", "color"];

/** The filters of an address. */
export function asked(search = location.search) {
  const pairs = [...new URLSearchParams(search)];
  return new URLSearchParams(pairs.filter(([name, value]) => value && !APART.includes(name)));
}

/** The filters of a form. */
export function said(form) {
  return new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
}

/** Filters as an address of this page, with the view as it is. */
export function address(filters, view = location.hash) {
  const query = filters.toString().replaceAll("%2C", ",");
  return location.pathname + (query && "?" + query) + view;
}

/** Zoom and centre that the address tells, or null. */
export function view() {
  const [, zoom, lat, lon] = VIEW.exec(location.hash) ?? [];
  return zoom ? { zoom: Number(zoom), centre: [Number(lat), Number(lon)] } : null;
}

/** Keep the view of a map in the address. */
export function keep(map) {
  const { lat, lng } = map.getCenter();
  const told = `#${map.getZoom()}/${lat.toFixed(4)}/${lng.toFixed(4)}`;
  if (told !== location.hash) history.replaceState(history.state, "", told);
}
