// Sends what somebody reports to each network that it concerns, straight from the browser.
// What a network could not be given is kept in this browser, and offered again.

const form = document.querySelector("#report-form");
const words = JSON.parse(form.dataset.words);
const said = document.querySelector("#report-said");
const kept = document.querySelector("#kept");
const key = (record) => `maillage report ${record}`;
const phrase = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const boxes = () => [...form.querySelectorAll("[name=to]")];
let underway = false;

function line(where, text, link) {
  const paragraph = document.createElement("p");
  paragraph.append(text);
  if (link) paragraph.append(" ", anchor(link));
  where.append(paragraph);
  return paragraph;
}

function anchor({ href, text }) {
  return Object.assign(document.createElement("a"), { href, textContent: text });
}

function reached(contact) {
  if (/^https?:\/\//i.test(contact)) return { href: contact, text: contact };
  return /^\S+@\S+$/.test(contact) ? { href: `mailto:${contact}`, text: contact } : null;
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function remember(record, report) {
  try {
    localStorage.setItem(key(record), JSON.stringify(report));
  } catch {
    // A browser that keeps nothing: the text is still in the form.
  }
}

function recall(record) {
  try {
    return JSON.parse(localStorage.getItem(key(record)));
  } catch {
    return null;
  }
}

function forget(record) {
  try {
    localStorage.removeItem(key(record));
  } catch {
    // Nothing was kept.
  }
}

async function send(box, report) {
  const { url, name: network, contact } = box.dataset;
  let answer;
  try {
    answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Accept-Language": form.dataset.language },
      body: JSON.stringify(report),
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(20000),
    });
  } catch {
    remember(box.value, report);
    const link = reached(contact);
    line(said, phrase(words.away, { network, contact: link ? "" : contact || words.nobody }).trim(), link);
    return false;
  }
  return told(box, report, answer);
}

async function told(box, report, answer) {
  const network = box.dataset.name;
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) {
    forget(box.value);
    const outcome = new URL(String(found.link).replace(/^\//, ""), new URL(box.dataset.url, location.href).href.replace(/reports$/, ""));
    line(said, phrase(words.sent, { network }), { href: outcome.href, text: words.follow });
    return true;
  }
  remember(box.value, report);
  const why = found.errors?.map((error) => error.detail).join(" ") || found.detail || found.title || answer.status;
  line(said, phrase(words.refused, { network, why }));
  return false;
}

function written(box) {
  const fields = new FormData(form);
  const report = {
    kind: fields.get("kind"),
    place: box.value,
    text: fields.get("text"),
    language: form.dataset.language,
    page: new URL(form.dataset.page, location.href).href,
  };
  for (const name of ["field", "proposed", "contact"]) {
    if (fields.get(name)) report[name] = fields.get(name);
  }
  return report;
}

async function submit(event) {
  event.preventDefault();
  if (underway) return;
  const chosen = boxes().filter((box) => box.checked);
  said.replaceChildren();
  if (!chosen.length) {
    line(said, words.choose);
    return;
  }
  const waiting = line(said, words.sending);
  // Not disabled meanwhile: a button that is loses the focus.
  underway = true;
  const done = await Promise.all(chosen.map((box) => send(box, written(box))));
  underway = false;
  waiting.remove();
  if (done.every(Boolean)) form.querySelector("textarea").value = "";
}

function offer(box) {
  const report = recall(box.value);
  if (!report) return;
  const where = line(kept, phrase(words.kept, { network: box.dataset.name }));
  const quoted = Object.assign(document.createElement("blockquote"), { textContent: report.text });
  const gone = () => {
    where.remove();
    quoted.remove();
    kept.hidden = !kept.childElementCount;
    // The buttons are gone, so the focus goes where the answer will stand.
    said.focus();
  };
  const again = button(words.again, async () => {
    said.replaceChildren();
    gone();
    if (!await send(box, report)) offer(box);
  });
  const never = button(words.forget, () => {
    forget(box.value);
    gone();
  });
  where.append(" ", again, " ", never);
  where.after(quoted);
  kept.hidden = false;
}

function concern() {
  const field = form.elements.field.value;
  const says = (box) => !field || box.dataset.fields.split(" ").includes(field);
  const concerned = boxes().filter(says);
  for (const box of boxes()) box.checked = concerned.length ? says(box) : true;
}

form.hidden = false;
document.querySelector("#report-without").hidden = true;
form.addEventListener("submit", submit);
form.elements.field.addEventListener("change", concern);
boxes().forEach(offer);
