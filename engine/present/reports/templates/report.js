"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    logLevel: 1, // errors only: Vega warns of a layer without rows, such as intervals of too few rounds
    ast: true, // expressions are interpreted: the page's policy forbids new code
    actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
    scaleFactor: { png: 2 },
    downloadFileName: document.title,
  };
  const draw = (element) => vegaEmbed(element, specs[element.id], options).catch(console.error);

  for (const element of document.querySelectorAll(".chart")) {
    const closed = element.closest("details:not([open])"); // a chart inside has no width until it is opened
    if (closed) closed.addEventListener("toggle", () => draw(element), { once: true });
    else draw(element);
  }

  for (const field of document.querySelectorAll("input[data-table]")) {
    const rows = [...document.querySelectorAll(`#${field.dataset.table} tbody tr`)];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const count = field.closest(".search").querySelector("output");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, i) => (row.hidden = !words.every((word) => texts[i].includes(word))));
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
  }
})();
