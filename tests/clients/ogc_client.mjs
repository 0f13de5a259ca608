// What npm's @camptocamp/ogc-client finds behind an address, and the ids of the places for each set of options.
import { OgcApiEndpoint } from "@camptocamp/ogc-client";

const [url, asked] = process.argv.slice(2);
const endpoint = new OgcApiEndpoint(url);
const collections = await endpoint.featureCollections;
const about = await endpoint.getCollectionInfo("places");
const found = [];
for (const { since, ...options } of JSON.parse(asked)) {
  if (since) options.dateTime = { start: new Date(since) };
  const items = await (await fetch(await endpoint.getCollectionItemsUrl("places", options))).json();
  found.push(items.features.map((feature) => feature.id));
}
const page = await endpoint.getCollectionItems("places", 5, 10);
console.log(
  JSON.stringify({
    info: await endpoint.info,
    conformance: await endpoint.conformanceClasses,
    collections,
    formats: about.itemFormats,
    crs: about.crs,
    page: page.map((feature) => feature.id),
    queryables: about.queryables.map((each) => each.name),
    found,
  }),
);
