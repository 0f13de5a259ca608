// What is said of a place that was chosen on the map, with the way to its page.

/** The box for it. `city(id)` is told by whoever knows it. */
export function preview(box, { prefix, words, labels, city }) {
  const [close, body] = box.children;
  let from = null;

  function show(points, element) {
    from = element;
    body.replaceChildren(...(points.length > 1 ? many(points) : about(points[0], "h2")));
    box.hidden = false;
    body.querySelector("a").focus({ preventScroll: true });
  }

  function hide(back = true) {
    if (box.hidden) return;
    box.hidden = true;
    if (back) (from?.isConnected ? from : document.getElementById("map")).focus({ preventScroll: true });
  }

  function many(points) {
    const list = made("ul");
    list.append(...points.map((point) => {
      const item = made("li");
      item.append(...about(point, "span"));
      return item;
    }));
    return [made("h2", words.many.replace("{count}", points.length)), list];
  }

  function about([, , id, name, status, families], kind) {
    const heading = made(kind);
    const link = made("a", name);
    link.href = prefix + id;
    heading.append(link);
    const codes = families.split(";").filter(Boolean).map((code) => labels.family[code] ?? code);
    const told = [city(id), ...codes, status === "open" ? "" : labels.status[status] ?? status];
    return [heading, made("p", told.filter(Boolean).join(" · "))];
  }

  close.addEventListener("click", () => hide());
  box.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  return { show, hide };
}

function made(kind, text = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}
