// Whether a file is GeoJSON as RFC 7946 has it: throws with every place where it is not; else how many features it has.
import { readFileSync } from "node:fs";
import { check } from "@placemarkio/check-geojson";

console.log(check(readFileSync(process.argv[2], "utf-8")).features.length);
