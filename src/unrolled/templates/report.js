"use strict";
// Tables sort by a click or a key press on a column's name; what is missing stays at the end.
const compare = (a, b, numeric) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));

function sort(table, index, ascending, numeric) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[index].dataset.value;
  const rows = [...body.rows];
  const known = rows.filter((row) => key(row) !== "");
  known.sort((a, b) => (ascending ? 1 : -1) * compare(key(a), key(b), numeric));
  body.append(...known, ...rows.filter((row) => key(row) === ""));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(table, index, ascending, head.classList.contains("num"));
    });
  });
}
