// The map of a network, or of a common view, in any site; this file may be copied there.
//
//   <script defer src="embed.js"></script>
//   <maillage-map src="https://carte.exemple.fr/" family="fablab" color="#0b5d51" height="30rem">
//     <a href="https://carte.exemple.fr/">La carte des tiers-lieux</a>
//   </maillage-map>
//
// `src` is a registry or a sync. Filters: q family status departement network area license near. What is shown:
// name, color, height. It is a frame: nothing of the site is seen by the map, and nothing of the map by the site.

const FILTERS = ["q", "family", "status", "departement", "network", "area", "license", "near", "name", "color"];
const HEIGHT = "30rem";

class MaillageMap extends HTMLElement {
  static observedAttributes = ["src", "height", "title", ...FILTERS];

  connectedCallback() {
    if (!this.shadowRoot) this.attachShadow({ mode: "open" });
    this.draw();
  }

  attributeChangedCallback() {
    if (this.shadowRoot) this.draw();
  }

  draw() {
    const address = this.address();
    if (!address) return this.shadowRoot.replaceChildren(document.createElement("slot"));
    const frame = document.createElement("iframe");
    Object.assign(frame, {
      src: address, loading: "lazy", referrerPolicy: "strict-origin-when-cross-origin",
      title: this.getAttribute("title") ?? this.getAttribute("name") ?? "Carte des lieux",
    });
    frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox");
    Object.assign(this.style, { display: "block" });
    Object.assign(frame.style, { width: "100%", border: "0", display: "block", height: this.height() });
    return this.shadowRoot.replaceChildren(frame);
  }

  height() {
    const said = this.getAttribute("height") ?? HEIGHT;
    return /^\d+$/.test(said) ? `${said}px` : said;
  }

  // Without an address on the web, what the site wrote inside of the element is shown.
  address() {
    const said = this.getAttribute("src");
    const url = said && URL.canParse(said, location.href) ? new URL(said, location.href) : null;
    if (!/^https?:$/.test(url?.protocol)) return null;
    const query = FILTERS.filter((name) => this.getAttribute(name)).map((name) => [name, this.getAttribute(name)]);
    const frame = new URL("embed", url.href.replace(/[?#].*$/, "").replace(/\/?$/, "/"));
    frame.search = new URLSearchParams(query);
    return frame.href;
  }
}

customElements.define("maillage-map", MaillageMap);
