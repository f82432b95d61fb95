// A field above each long table that shows only the rows with all of the words written in it.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 15) continue;
    const field = document.createElement("input");
    field.type = "search";
    field.className = "table-filter";
    field.placeholder = `Filter ${rows.length.toLocaleString("en")} rows`;
    field.setAttribute("aria-label", "Show only the rows with these words");
    const texts = rows.map((row) => row.textContent.toLowerCase());
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, k) => {
        row.hidden = !words.every((word) => texts[k].includes(word));
      });
    });
    (table.closest(".md-typeset__scrollwrap") || table).before(field);
  }
});
