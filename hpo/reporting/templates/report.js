"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const hovers = read("hovers");
  const drawn = new Map();

  // A trace of trials or attempts holds their numbers; what hovering shows of each is in the page once.
  const text = (head, lines) => [`<b>${head}</b>`, ...lines].join("<br>");
  const texts = {
    trials: ([head, note, ...values]) => {
      const known = hovers.names.map((name, at) => values[at] && `${name} = ${values[at]}`);
      return text(head, [note, ...known].filter(Boolean));
    },
    attempts: ([head, ...lines]) => text(head, lines),
  };
  const tell = (trace) => {
    const rows = hovers[trace.meta];
    if (!rows || !trace.customdata) return;
    trace.hovertext = Array.from(trace.customdata, (at) => (rows[at] ? texts[trace.meta](rows[at]) : ""));
    trace.hoverinfo = "text";
  };

  const draw = (box) => {
    const name = box.dataset.figure;
    if (drawn.has(name)) return drawn.get(name);
    const figure = read(`figure-${name}`);
    figure.data.forEach(tell);
    const options = { displaylogo: false, responsive: true };
    const done = Plotly.newPlot(box, figure.data, figure.layout, options).then(() => {
      box.dataset.drawn = "true";
    });
    drawn.set(name, done);
    return done;
  };

  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell.textContent) return null;
    const number = Number.parseFloat(cell.dataset.value ?? cell.textContent);
    return Number.isNaN(number) ? cell.textContent : number;
  };

  const sort = (head) => {
    const table = head.closest("table");
    const body = table.tBodies[0];
    const column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === null || y === null) return (x === null) - (y === null); // what is not known goes last
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return up ? order : -order;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  };

  document.querySelectorAll("table.sortable th").forEach((head) => head.addEventListener("click", () => sort(head)));

  const boxes = [...document.querySelectorAll(".figure")];
  const watcher = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "200px" });
  boxes.forEach((box) => watcher.observe(box));
  window.addEventListener("beforeprint", () => boxes.forEach(draw));

  const ready = () => { document.documentElement.dataset.ready = String(Math.round(performance.now())); };
  (boxes.length ? draw(boxes[0]) : Promise.resolve()).then(ready);
})();
