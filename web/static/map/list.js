// The list beside the map: rendered by the server, fetched anew when the filters change.

const WIDE = matchMedia("(min-width: 60rem)");
const SAME = ["count", "others", "results"];

/** The page at an address, as a document. */
export async function fetched(url, signal) {
  const answer = await fetch(url, { headers: { Accept: "text/html" }, signal });
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) throw new Error(found.querySelector("main li, main p")?.textContent);
  return found;
}

/** Put what a fetched page lists in the place of what is listed; `filled`: its filters as well. */
export function swap(found, filled) {
  for (const id of SAME) {
    document.getElementById(id).replaceChildren(...found.getElementById(id).childNodes);
  }
  for (const field of found.querySelectorAll("#filters [name]")) {
    const ours = document.querySelector(`#filters [name="${field.name}"]`);
    const { value, disabled } = field;
    if (ours?.matches("select")) {
      ours.replaceChildren(...field.childNodes);
      ours.closest("label").hidden = field.closest("label").hidden;
    } else if (!filled) continue;
    if (ours) Object.assign(ours, { value, disabled });
  }
  for (const id of ["clear", "others"]) document.getElementById(id).hidden = found.getElementById(id).hidden;
  const language = document.querySelector("a.language");
  language.href = found.querySelector("a.language").getAttribute("href");
}

/** Tell which place of the list is looked at; null when none is. */
export function watch(list, lit) {
  const of = (event) => event.target.closest("li[data-id]")?.dataset.id ?? null;
  for (const kind of ["mouseover", "focusin"]) list.addEventListener(kind, (event) => lit(of(event)));
  for (const kind of ["mouseleave", "focusout"]) list.addEventListener(kind, () => lit(null));
}

/** Show in the list which place is looked at on the map. */
export function light(id) {
  for (const item of document.querySelectorAll("#results li.lit")) item.classList.remove("lit");
  const item = id && document.querySelector(`#results li[data-id="${CSS.escape(id)}"]`);
  if (!item) return;
  item.classList.add("lit");
  if (WIDE.matches) item.scrollIntoView({ block: "nearest" });
}
