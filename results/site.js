// What a page can do with script: open drawers in place, walk the matrix with the arrow keys, filter
// it. Without script the matrix is a table, and drawers that are not packed open as addresses.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  let shown = null, opener = null;

  // --- drawers ----------------------------------------------------------------------------------

  async function unpack(pack) {
    const bytes = Uint8Array.from(atob(pack.textContent.trim()), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const template = document.createElement("template");
    template.innerHTML = await new Response(stream).text();
    pack.replaceWith(template.content);
  }

  async function find(name) {
    const all = [...document.querySelectorAll("script[data-pack]")];
    const packs = all
      .filter((pack) => all.length === 1 || name.startsWith(`d-${pack.dataset.pack}`))
      .sort((one, other) => other.dataset.pack.length - one.dataset.pack.length);
    for (const pack of packs) {
      if (document.getElementById(name)) break;
      await unpack(pack);
    }
    const drawer = document.getElementById(name);
    return drawer && drawer.classList.contains("drawer") ? drawer : null;
  }

  async function open(name, from) {
    const drawer = await find(name);
    if (!drawer) return;
    shut();
    shown = drawer;
    opener = from || document.querySelector(`.matrix a[href="#${CSS.escape(name)}"]`);
    drawer.classList.add("open");
    if (opener) opener.closest("td").classList.add("current");
    history.replaceState(null, "", `#${name}`);
    drawer.scrollTop = 0;
    drawer.focus({ preventScroll: true });
  }

  function shut() {
    if (!shown) return;
    shown.classList.remove("open");
    document.querySelector(".current")?.classList.remove("current");
    shown = null;
    history.replaceState(null, "", location.pathname + location.search);
    if (opener) opener.focus({ preventScroll: true });
  }

  function isDrawer(link) {
    return link && (link.getAttribute("href") || "").startsWith("#d-");
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (isDrawer(link)) {
      event.preventDefault();
      open(link.getAttribute("href").slice(1), link);
    } else if (link && link.classList.contains("shut")) {
      event.preventDefault();
      shut();
    } else if (link && shown && shown.contains(link) && link.hash) {
      shut();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown) {
      event.preventDefault();
      shut();
    }
  });
  const follow = () => location.hash.startsWith("#d-") && open(decodeURIComponent(location.hash.slice(1)));
  window.addEventListener("hashchange", follow);
  follow();

  // --- the matrix -------------------------------------------------------------------------------

  document.querySelectorAll(".grid").forEach((grid) => {
    const bodies = [...grid.querySelectorAll("tbody")];
    const rows = bodies.flatMap((body) => [...body.rows].filter((row) => !row.matches(".group")))
      .map((row) => ({
        row, cells: [...row.cells].slice(1), head: row.cells[0].textContent.toLowerCase(),
        group: row.parentElement.querySelector(".group span")?.firstChild.textContent.trim() || "",
      }));
    const heads = [...grid.querySelectorAll(".heads th")].slice(1);
    const chapters = [...grid.querySelectorAll(".chapters th")];
    const chapterOf = chapters.flatMap((th) => Array(th.colSpan).fill(th));
    const links = grid.querySelectorAll("td a");
    links.forEach((link, place) => { link.tabIndex = place ? -1 : 0; });

    grid.addEventListener("focusin", (event) => {
      if (!event.target.matches("td a")) return;
      grid.querySelectorAll('td a[tabindex="0"]').forEach((link) => { link.tabIndex = -1; });
      event.target.tabIndex = 0;
    });
    grid.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      const from = event.target.closest("td");
      if (!step || !from || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      let row = rows.findIndex((one) => one.row === from.parentElement);
      let column = from.cellIndex - 1;
      for (;;) {
        row += step[0];
        column += step[1];
        const cell = rows[row]?.cells[column];
        if (!cell) return;
        const link = cell.querySelector("a");
        if (cell.hidden || cell.parentElement.hidden || !link) continue;
        link.focus({ preventScroll: true });
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
        return;
      }
    });

    const form = grid.querySelector(".filters");
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", filter);
    form.addEventListener("change", filter);
    const { rows: down, columns: across } = grid.dataset;

    function filter() {
      const asked = Object.fromEntries(new FormData(form));
      const text = (axis) => (asked[axis] || "").trim().toLowerCase();
      const chapter = asked.chapter || "";
      const kinds = [asked.verdict && `v-${asked.verdict}`, asked.harm && `h-${asked.harm}`].filter(Boolean);
      const fits = (cell) => kinds.every((kind) => cell.classList.contains(kind));
      const wanted = heads.map((head, place) => head.textContent.toLowerCase().includes(text(across))
        && (across !== "sequence" || !chapter || chapterOf[place]?.textContent.trim() === chapter));
      const used = heads.map(() => !kinds.length);
      for (const one of rows) {
        const named = one.head.includes(text(down)) && (down !== "sequence" || !chapter || one.group === chapter);
        const matches = one.cells.map((cell, place) => named && wanted[place] && fits(cell));
        one.row.hidden = !named || (kinds.length > 0 && !matches.includes(true));
        matches.forEach((match, place) => {
          if (kinds.length) one.cells[place].classList.toggle("dim", !match && one.cells[place].classList.length > 0);
          else one.cells[place].classList.remove("dim");
          used[place] ||= match;
        });
      }
      // columns of words stay: only where the columns are sequences do they come and go
      const columns = wanted.map((want, place) => want && (across !== "sequence" || used[place]));
      heads.forEach((head, place) => { head.hidden = !columns[place]; });
      for (const one of rows) one.cells.forEach((cell, place) => { cell.hidden = !columns[place]; });
      chapters.forEach((th) => {
        const span = columns.filter((seen, place) => seen && chapterOf[place] === th).length;
        th.hidden = !span;
        if (span) th.colSpan = span;
      });
      bodies.forEach((body) => {
        const left = [...body.rows].filter((row) => !row.matches(".group") && !row.hidden).length;
        const count = body.querySelector(".group small");
        if (count) count.textContent = left;
        body.hidden = !left;
      });
      const left = rows.filter((one) => !one.row.hidden).length;
      const seen = columns.filter(Boolean).length;
      const counts = [`${left} of ${rows.length} ${down}s`];
      if (across) counts.push(`${seen} of ${heads.length} ${across}s`);
      form.querySelector("output").textContent = form.querySelector("input, select") && counts.join(", ");
    }
  });
})();
