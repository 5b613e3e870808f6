"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A cell of the matrix shows its examples: those on the page already and those on the shelf.
  const panel = document.getElementById("cell");
  const shelf = document.getElementById("shelf");
  const examples = new Map();
  const gather = root => all("figure[data-cell]", root).forEach(card => {
    const key = card.dataset.cell;
    if (!examples.has(key)) examples.set(key, []);
    examples.get(key).push(card);
  });
  gather(document);
  if (shelf) gather(shelf.content);
  const show = button => {
    all("button[data-cell][aria-pressed=true]").forEach(b => b.setAttribute("aria-pressed", "false"));
    if (panel.dataset.cell === button.dataset.cell) {
      panel.dataset.cell = "";
      panel.replaceChildren();
      return;
    }
    button.setAttribute("aria-pressed", "true");
    panel.dataset.cell = button.dataset.cell;
    const cards = examples.get(button.dataset.cell) || [];
    const title = document.createElement("p");
    title.textContent = (button.getAttribute("aria-label") || button.textContent.trim()) +
      (cards.length ? "" : ". None of these is kept on this page.");
    const list = document.createElement("div");
    list.className = "cards";
    list.append(...cards.map(card => card.cloneNode(true)));
    panel.replaceChildren(title, list);
    panel.scrollIntoView({ block: "nearest" });
  };
  if (panel) all("button[data-cell]").forEach(b => b.addEventListener("click", () => show(b)));

  // A table is sorted by the column whose head is pressed; numbers begin with the largest.
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.v);
  };
  all("table.sortable").forEach(table => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const rows = [...table.tBodies[0].rows];
        const numbers = rows.length > 0 && typeof value(rows[0], i) === "number";
        const was = head.getAttribute("aria-sort");
        const order = was ? (was === "ascending" ? "descending" : "ascending") : numbers ? "descending" : "ascending";
        heads.forEach(h => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        rows.sort((a, b) => {
          const x = value(a, i), y = value(b, i);
          return sign * (x < y ? -1 : x > y ? 1 : 0);
        });
        table.tBodies[0].append(...rows);
      });
    });
  });

  // A class of the map's legend stands out; a point says what it is, in both maps.
  const legend = all(".map-legend button");
  legend.forEach(button => button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    legend.forEach(b => b.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", String(on));
    all(".map g").forEach(g => g.classList.toggle("away", on && g.dataset.k !== button.dataset.k));
  }));
  const names = all("#points li");
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  all(".map svg").forEach(svg => {
    svg.addEventListener("pointerover", event => {
      const i = event.target.dataset.i;
      all(".map circle.here").forEach(c => c.classList.remove("here"));
      tip.hidden = i === undefined;
      if (tip.hidden) return;
      all(`.map circle[data-i="${Number(i)}"]`).forEach(c => c.classList.add("here"));
      tip.textContent = names[Number(i)] ? names[Number(i)].textContent : "";
      const box = event.target.getBoundingClientRect();
      tip.style.left = Math.max(8, Math.min(box.left + 12, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = Math.min(box.bottom + 8, innerHeight - tip.offsetHeight - 8) + "px";
    });
    svg.addEventListener("pointerleave", () => {
      tip.hidden = true;
      all(".map circle.here").forEach(c => c.classList.remove("here"));
    });
  });
})();
