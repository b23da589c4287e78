// Makes elements. Text is always text, never markup: what senders wrote cannot become code here.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

export const chip = (word, title) => h("span", { class: `chip ${word}`, title }, String(word).replaceAll("_", " "));

/** A table; `columns` are [title, cell(row), class]; rows with an address open it on click, Enter and j/k. */
export function table(columns, rows, address) {
  const body = rows.map((row) => {
    const href = address?.(row);
    const cells = columns.map(([, cell, kind], index) => {
      const content = cell(row);
      return h("td", { class: kind }, index === 0 && href ? h("a", { href }, content) : content);
    });
    return h("tr", href ? { class: "row", "data-href": href } : {}, cells);
  });
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { class: kind, scope: "col" }, title)))),
    h("tbody", {}, body)));
}

export const panel = (title, ...content) => h("section", { class: "panel" }, title ? h("h2", {}, title) : null, content);
export const empty = (text) => h("p", { class: "empty" }, text);
