// The page's router: an address is a view, every state is in the address.

import { h } from "./dom.js";
import * as api from "./api.js";
import * as format from "./format.js";
import { overview } from "./overview.js";
import { incidentList, incidentPage } from "./incidents.js";
import { anomalyList, anomalyPage } from "./anomalies.js";
import { seriesPage, services } from "./services.js";
import { spanPage, stacksPage, tracePage } from "./stacks.js";
import { traffic } from "./traffic.js";
import { actions, models, sql } from "./workbench.js";

const main = document.getElementById("main");
const routes = [
  [/^\/$/, overview, "Overview"],
  [/^\/incidents$/, incidentList, "Incidents"],
  [/^\/incidents\/([^/]+)$/, incidentPage, "Incident"],
  [/^\/anomalies$/, anomalyList, "Anomalies"],
  [/^\/anomalies\/([^/]+)$/, anomalyPage, "Anomaly"],
  [/^\/services$/, services, "Services"],
  [/^\/series\/([^/]+)$/, seriesPage, "Series"],
  [/^\/stacks$/, stacksPage, "Stacks"],
  [/^\/spans\/([^/]+)$/, spanPage, "Span"],
  [/^\/traces\/([^/]+)$/, tracePage, "Trace"],
  [/^\/actions$/, actions, "Actions"],
  [/^\/models$/, models, "Models"],
  [/^\/traffic$/, traffic, "Traffic"],
  [/^\/query$/, sql, "SQL"],
];

let view = null; // { interest: event names that redraw it, draw }
let drawing = 0;

/** Swaps what is shown. A quiet redraw keeps what is unfolded, and the focus, as they are. */
function replace(content, quiet) {
  const open = quiet ? [...main.querySelectorAll("details[open]")].map((one) => one.dataset.keep) : [];
  const at = quiet && main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  main.replaceChildren(...content);
  for (const one of main.querySelectorAll("details")) one.open = open.includes(one.dataset.keep);
  if (at) main.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
}

/** Draws the view of the present address; a newer call makes an older one's answer void. */
async function draw({ quiet = false } = {}) {
  const turn = ++drawing;
  const { pathname, searchParams } = new URL(location.href);
  const route = routes.map(([pattern, page, title]) => ({ match: pathname.match(pattern), page, title })).find(({ match }) => match);
  for (const link of document.querySelectorAll("[data-nav]")) {
    const own = link.dataset.nav;
    const here = own === "/" ? pathname === "/" : pathname.startsWith(own);
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (!route) return main.replaceChildren(h("p", { class: "empty" }, `There is no page at ${pathname}.`));
  document.title = `${route.title} · Geophone`;
  try {
    const page = await route.page({ id: route.match[1] && decodeURIComponent(route.match[1]), filter: Object.fromEntries(searchParams), go, redraw: draw });
    if (turn !== drawing) return;
    view = page;
    replace(page.content.flat(Infinity).filter(Boolean), quiet);
    if (page.title) document.title = `${page.title} · Geophone`;
  } catch (error) {
    if (turn === drawing && !quiet) main.replaceChildren(h("p", { class: "error" }, `This could not be shown: ${error.message}.`));
  }
}

/** Goes to an address inside the page. */
function go(href, { replace = false } = {}) {
  view = null;
  history[replace ? "replaceState" : "pushState"](null, "", href);
  draw().then(() => { if (!replace) main.focus({ preventScroll: true }); });
  if (!replace) window.scrollTo(0, 0);
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = event.target.closest("a[href]");
  if (link && link.origin === location.origin && !link.pathname.startsWith("/api/") && !link.hash) {
    event.preventDefault();
    return go(link.pathname + link.search);
  }
  const row = event.target.closest("tr[data-href]");
  if (row && !link && !getSelection().toString()) go(row.dataset.href);
});
window.addEventListener("popstate", () => draw());

const keys = document.getElementById("keys");
const zone = document.getElementById("zone");
function toggleZone() {
  format.switchZone();
  zone.textContent = format.isUtc() ? "UTC" : "local";
  draw({ quiet: true });
}
zone.textContent = format.isUtc() ? "UTC" : "local";
zone.addEventListener("click", toggleZone);
document.getElementById("help").addEventListener("click", () => keys.showModal());

const shortcuts = { o: "/", i: "/incidents", a: "/anomalies", s: "/services" };
document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  if (keys.open) return;
  if (event.key === "?") return keys.showModal();
  if (event.key === "/") { event.preventDefault(); return main.querySelector("input, textarea")?.focus(); }
  if (event.key === "u") return toggleZone();
  if (shortcuts[event.key]) return go(shortcuts[event.key]);
  if (event.key === "j" || event.key === "k") {
    const links = [...main.querySelectorAll("tr.row td:first-child > a, a.item")];
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))]?.focus();
  }
});

const live = document.getElementById("live");
let due = null;
api.listen(
  (name) => {
    // Many events, one redraw; never while somebody types or selects.
    if (due || !(name === "missed" || view?.interest?.includes(name))) return;
    due = setTimeout(() => {
      due = null;
      const busy = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "") || getSelection().toString() || main.querySelector(".chart:hover, .lane:hover") || main.querySelector("svg:focus");
      if (!busy && !document.hidden) draw({ quiet: true });
    }, 1500);
  },
  (on) => {
    live.className = `live ${on ? "on" : "off"}`;
    live.textContent = on ? "live" : "reconnecting";
  },
);
draw();
