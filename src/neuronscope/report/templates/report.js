"use strict";
// Tables that sort and filter, one neuron shown large, and the gallery of a run. Texts become text nodes, never markup.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (name, options = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "class") element.className = value;
      else if (key in element) element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  // ---- sorting
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.v ?? cell.textContent.trim();
    const number = Number(value);
    return value !== "" && Number.isFinite(number) ? number : value;
  };
  const compare = (a, b) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what is no number stands last
    return typeof a === "number" ? a - b : a.localeCompare(b);
  };
  const sort = (table, head) => {
    const rising = head.getAttribute("aria-sort") === "descending";
    for (const other of all("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, head.cellIndex), row]);
    rows.sort(([a], [b]) => (rising ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    for (const head of all("th[data-sort]", table)) {
      const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  }

  // ---- filtering
  for (const tools of all("[data-tools]")) {
    tools.hidden = false;
    const table = document.querySelector(`[data-table="${tools.dataset.tools}"]`);
    const text = tools.querySelector('[data-filter="text"]');
    const layer = tools.querySelector('[data-filter="layer"]');
    const count = tools.querySelector("[data-count]");
    const apply = () => {
      const wanted = text.value.trim().toLowerCase();
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const here = !layer.value || row.dataset.layer === layer.value;
        row.hidden = !(here && row.dataset.text.includes(wanted));
      }
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
    };
    text.addEventListener("input", apply);
    layer.addEventListener("change", apply);
  }

  // ---- one neuron, large
  for (const panel of all("[data-panel]")) {
    const table = document.querySelector(`[data-table="${panel.dataset.panel}"]`);
    const heads = [...table.tHead.rows[0].cells];
    const show = (row) => {
      for (const other of table.tBodies[0].rows) {
        other.classList.toggle("on", other === row);
        other.querySelector(".pick").setAttribute("aria-pressed", String(other === row));
      }
      const facts = make("dl");
      heads.forEach((head, column) => {
        if (column < 3 || !row.cells[column].textContent.trim()) return;
        const value = make("dd");
        value.append(...[...row.cells[column].childNodes].map((node) => node.cloneNode(true)));
        facts.append(make("dt", {}, head.textContent), value);
      });
      const address = `L${row.cells[1].textContent}.U${row.cells[2].textContent}`;
      const page = row.cells[2].querySelector("a");
      const title = make("h3", {}, page ? make("a", { href: page.getAttribute("href") }, address) : address);
      panel.replaceChildren(row.querySelector(".heat").cloneNode(true), make("div", {}, title, facts));
      panel.hidden = false;
    };
    for (const row of table.tBodies[0].rows) row.querySelector(".pick").addEventListener("click", () => show(row));
    if (table.tBodies[0].rows.length) show(table.tBodies[0].rows[0]);
  }

  // ---- print shows what is folded
  addEventListener("beforeprint", () => {
    for (const fold of all("details:not([open])")) Object.assign(fold, { open: true }).dataset.folded = "";
  });
  addEventListener("afterprint", () => {
    for (const fold of all("details[data-folded]")) {
      fold.open = false;
      delete fold.dataset.folded;
    }
  });

  // ---- the gallery of a run
  const source = document.getElementById("gallery-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const tools = document.querySelector("[data-gallery]");
  const pick = Object.fromEntries(all("select", tools).map((select) => [select.dataset.pick, select]));
  const cards = document.querySelector("[data-cards]");
  const said = document.querySelector("[data-said]");
  const few = 12; // rows of other pictures that are shown before all are asked for
  const state = { source: 0 };
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  const decoded = new Map(); // only what is looked at is unpacked
  const cellsOf = (method, condition) => {
    const name = `${method}/${condition}`;
    if (!decoded.has(name)) {
      const packed = data.cells[method][condition];
      if (!packed) return null;
      const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      const cells = Uint16Array.from({ length: bytes.length / 2 }, (_, k) => view.getUint16(2 * k, true));
      decoded.set(name, { draws: packed.draws, cells });
    }
    return decoded.get(name);
  };
  const caption = ([place, , start, end]) => {
    const text = data.texts[place];
    const line = make("p", { class: "line" }, make("span", { class: "prompt" }, `${data.prompt} `));
    line.append(text.slice(0, start), ...(end > start ? [make("mark", {}, text.slice(start, end))] : []), text.slice(end));
    return line;
  };
  const picture = (address, alt) =>
    address ? make("img", { src: address, alt }) : make("span", { class: "no-picture", role: "img", "aria-label": alt });

  const option = (select, texts) => select.replaceChildren(...texts.map((text, k) => new Option(text, String(k))));
  const concepts = [...new Set(data.shots.map((shot) => shot.concept))];
  option(pick.concept, concepts);
  option(pick.method, data.methods);
  option(pick.condition, data.conditions);
  const own = () => data.shots.flatMap((shot, k) => (shot.concept === concepts[pick.concept.value] ? [k] : []));

  const card = (k) => {
    const shot = data.shots[k];
    const method = Number(pick.method.value);
    const size = data.sizes[method][k];
    const chosen = state.source === k;
    const button = make(
      "button",
      { type: "button", class: "choose", "aria-pressed": String(chosen) },
      size === null ? "not located yet" : `${chosen ? "Shown below" : "Show"}: the ${plural(size, "neuron")} located here`,
    );
    button.addEventListener("click", () => {
      state.source = k;
      draw();
      cards.querySelector('[aria-pressed="true"]').focus();
    });
    return make(
      "article",
      { class: "card" },
      make(
        "div",
        { class: "pair" },
        make("figure", {}, picture(shot.original, `image ${shot.image}`), make("figcaption", {}, "original")),
        make("figure", {}, picture(shot.edited, `image ${shot.image}, ${shot.concept} edited away`), make("figcaption", {}, "edited")),
      ),
      make("h4", {}, `image ${shot.image}`),
      caption(shot.caption),
      caption(shot.edited_caption),
      ...(shot.also.length ? [make("p", { class: "soft" }, `also annotated: ${shot.also.join(", ")}`)] : []),
      ...(data.notes[method][k].length
        ? [make("details", {}, make("summary", {}, "Notes"), ...data.notes[method][k].map((note) => make("p", { class: "soft" }, note)))]
        : []),
      button,
    );
  };

  const rowOf = (k, found) => {
    const shot = data.shots[k];
    const counts = new Map(); // equal captions of several draws stand once
    found.forEach((entry, draw) => counts.set(entry, [...(counts.get(entry) ?? []), draw]));
    const cell = make("td");
    for (const [entry, draws] of counts) {
      if (entry === null) {
        cell.append(make("p", { class: "soft" }, "not finished"));
        continue;
      }
      const line = caption(entry);
      if (found.length > 1) {
        const which = draws.length === found.length ? "all draws" : `draw ${draws.map((d) => d + 1).join(", ")}`;
        line.append(" ", make("small", {}, which));
      }
      cell.append(line);
    }
    const named = found.filter((entry) => entry && entry[1]).length;
    return make(
      "tr",
      {},
      make("td", { class: "thumb" }, picture(shot.original, "")),
      make("th", { scope: "row" }, shot.concept, make("small", {}, ` ${shot.image}`)),
      cell,
      make("td", { class: "n" }, `${named} of ${found.length}`),
    );
  };

  const draw = () => {
    const mine = own();
    if (!mine.includes(state.source)) state.source = mine[0];
    cards.replaceChildren(...mine.map(card));
    const method = Number(pick.method.value);
    const packed = cellsOf(method, Number(pick.condition.value));
    const heading = make("h3", {}, `${data.conditions[pick.condition.value]} on what ${data.methods[method]} located in image ${data.shots[state.source].image}`);
    if (!packed) {
      said.replaceChildren(heading, make("p", {}, "Not finished."));
      return;
    }
    const found = data.shots.map((_, o) =>
      Array.from({ length: packed.draws }, (_, d) => {
        const cell = packed.cells[(state.source * data.shots.length + o) * packed.draws + d];
        return cell === 65535 ? null : data.spoken[o][cell];
      }),
    );
    const others = data.shots.map((_, k) => k).filter((k) => !mine.includes(k));
    const count = (which, hit) => which.reduce((sum, k) => sum + found[k].filter((e) => e && Boolean(e[1]) === hit).length, 0);
    const total = (which) => which.reduce((sum, k) => sum + found[k].filter(Boolean).length, 0);
    const concept = concepts[pick.concept.value];
    const moved = (k) => found[k].some((e) => e && e[0] !== data.shots[k].caption[0]);
    const table = (which, label) =>
      make(
        "div",
        { class: "wide", tabindex: "0", role: "region", "aria-label": label },
        make(
          "table",
          { class: "said" },
          make("thead", {}, make("tr", {}, ...["", "image", "captions", "name it"].map((text, k) => make("th", { scope: "col", class: k === 3 ? "n" : "" }, text)))),
          make("tbody", {}, ...which.map((k) => rowOf(k, found[k]))),
        ),
      );
    const folded = (which, title, first) => {
      if (!which.length) return [];
      const rest = which.slice(first);
      const shown = first ? [make("p", { class: "soft" }, title), table(which.slice(0, first), title)] : [];
      if (!rest.length) return shown;
      const summary = make("summary", {}, first ? `${rest.length} more` : title);
      return [...shown, make("details", {}, summary, table(rest, `${title}${first ? ", the others" : ""}`))];
    };
    const still = others.filter((k) => !moved(k));
    said.replaceChildren(
      heading,
      make("h4", {}, `Images of ${concept}: ${count(mine, false)} of ${total(mine)} captions no longer name it`),
      table(mine, `images of ${concept}`),
      make("h4", {}, `Images of other concepts: ${count(others, true)} of ${total(others)} captions still name theirs`),
      ...folded(others.filter(moved), `captions that changed (${others.length - still.length} of ${others.length} images)`, few),
      ...folded(still, `captions that are as before (${still.length} of ${others.length} images)`, still.length > few ? 0 : few),
    );
  };
  for (const select of Object.values(pick)) select.addEventListener("change", draw);
  tools.hidden = false;
  draw();
})();
