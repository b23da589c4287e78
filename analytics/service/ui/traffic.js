// Traffic: what each tenant sent over which transport, and what became of it.

import * as api from "./api.js";
import { empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";

/** `reason: count` for each reason, or a dash. */
const reasons = (pairs) => (pairs.length
  ? pairs.map(([reason, count]) => h("div", { class: "small" }, `${reason.replaceAll("_", " ")}: ${format.plain(count)}`)) : "–");

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(count, 1)) / 10));
  return `${(count / 2 ** (10 * place)).toFixed(place ? 1 : 0)} ${units[place]}`;
}

const sums = (part) => [
  h("div", {}, format.plain(part.received)),
  h("div", { class: "small soft" }, `acked ${format.plain(part.acked)}, refused ${format.plain(part.refused)}, open ${format.plain(part.open)}`),
];

export async function traffic() {
  const [page, status] = await Promise.all([api.traffic(), api.status()]);
  const behind = `The engine is ${format.plain(status.lag_records)} records (${status.lag_seconds.toFixed(1)} s) behind the log.`;
  return {
    interest: ["window"],
    content: [
      h("h1", {}, "Traffic"),
      h("p", { class: "soft" }, `Received = acked + refused + open, in every line. ${behind}`),
      panel(null, page.items.length ? table([
        ["Tenant", (line) => line.tenant],
        ["Signal", (line) => `${line.signal} over ${line.transport}`],
        ["Requests", (line) => sums(line.requests)],
        ["Items", (line) => sums(line.items)],
        ["Bytes", (line) => [h("div", {}, bytes(line.bytes)), h("div", { class: "small soft" }, `${bytes(line.packed_bytes)} as sent`)]],
        ["Requests refused", (line) => reasons(line.refused_requests)],
        ["Items refused", (line) => reasons(line.refused_items)],
        ["Items dropped", (line) => reasons(line.dropped_items)],
      ], page.items) : empty("Nothing has been received since the start.")),
    ],
  };
}
