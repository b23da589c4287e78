// Which attribute values carry an anomaly: their share in it and before, and the score without them.

import { empty, h, table } from "./dom.js";
import * as format from "./format.js";

/** What the shares are shares of. */
const CASES = [[/error/, "failed requests"], [/duration|exclusive/, "odd requests"], [/log/, "records"], [/./, "requests"]];
const cases = (kind) => CASES.find(([pattern]) => pattern.test(kind))[1];

const share = (part) => {
  const bar = h("i", {});
  bar.style.width = `${Math.min(1, part) * 100}%`;
  return [h("span", {}, format.percent(part)), h("div", { class: "meter", "aria-hidden": "true" }, bar)];
};

const name = (a) => [
  h("code", {}, `${a.key}=${a.value}`),
  a.source === "resource" ? h("span", { class: "small soft" }, " of the sender") : null,
  a.outcome ? h("span", { class: "small soft" }, " a symptom") : null,
];

/** Whether leaving the value out takes a good part of the score away. */
const carries = (attribute, score) => attribute && !attribute.outcome && attribute.score_without <= 0.75 * score;

const sentence = (attribute, score, words) => h("p", { class: "verdict" },
  h("code", {}, `${attribute.key}=${attribute.value}`), ` is in ${format.percent(attribute.share)} of the ${words}, ${format.percent(attribute.baseline_share)} before. Without it the score is `,
  h("b", {}, attribute.score_without.toFixed(2)), `, not ${score.toFixed(2)}.`);

const shares = (of = (row) => row) => [
  ["Share in it", (row) => share(of(row).share), "share"],
  ["Share before", (row) => share(of(row).baseline_share), "share"],
  ["Score without it", (row) => h("b", {}, of(row).score_without.toFixed(2)), "num"],
];

/** Values that stand out in one anomaly. */
export function attributes({ attributes: found, score, series: { kind } }) {
  if (!/^(request|error|duration|exclusive|log)/.test(kind)) return empty("This series has no requests or records whose attributes could be compared.");
  if (!found?.length) return empty("No attribute value stands out: what is wrong meets all alike, or there are too few to tell.");
  return [
    carries(found[0], score) ? sentence(found[0], score, cases(kind)) : null,
    table([["Attribute", name], ...shares()], found, null, "attributes"),
  ];
}

/** The strongest values of an incident's anomalies; `members` = those anomalies. */
export function carriers(found, members) {
  const of = new Map(members.map((anomaly) => [anomaly.id, anomaly]));
  const rows = found.filter(({ anomaly_id }) => of.has(anomaly_id));
  if (!rows.length) return null;
  const [{ attribute, score, anomaly_id }] = rows;
  const where = ({ anomaly_id: id }) => {
    const { series } = of.get(id);
    return h("a", { href: `/anomalies/${id}` }, `${series.service} ${series.name} ${series.kind.replaceAll("_", " ")}`);
  };
  return [
    carries(attribute, score) ? sentence(attribute, score, cases(of.get(anomaly_id).series.kind)) : null,
    table([["Attribute", (row) => name(row.attribute)], ["Seen in", where], ...shares((row) => row.attribute)], rows, null, "attributes"),
  ];
}
