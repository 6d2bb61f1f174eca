"use strict";
// Only the cards in view are in the document. Rows are read at once, pictures and details when a
// card comes into view, from the inert JSON that follows this script.
(() => {
  const [NAME, FOLDER, STATE, REASONS, CATEGORIES, FIGURES, SHOT, LIKE, TWIN, WIDTH, HEIGHT] =
    Array.from({ length: 11 }, (_, place) => place);
  const GAP = 14, ROWS_BEYOND = 2, CHUNKS_HELD = 128;
  const $ = (id) => document.getElementById(id);
  const words = JSON.parse($("words").textContent);
  const rows = [];
  for (const script of document.querySelectorAll("script.rows")) {
    for (const row of JSON.parse(script.textContent)) rows.push(row);
    script.remove();
  }
  const fold = (text) => text.normalize("NFKC").toLowerCase();
  const searched = rows.map((row) => fold(`${row[FOLDER]}/${row[NAME]}`));
  const figurePlace = new Map(words.figures.map(([key], place) => [key, place]));
  const collator = new Intl.Collator("en", { numeric: true });
  const byName = rows.map((_, i) => i).sort((a, b) =>
    collator.compare(rows[a][NAME], rows[b][NAME]) || a - b);
  const nameRank = new Int32Array(rows.length);
  byName.forEach((row, rank) => { nameRank[row] = rank; });
  const groups = { [SHOT]: new Map(), [LIKE]: new Map() };
  rows.forEach((row, i) => {
    for (const kind of [SHOT, LIKE]) {
      if (row[kind] < 0) continue;
      const mates = groups[kind].get(row[kind]);
      if (mates) mates.push(i); else groups[kind].set(row[kind], [i]);
    }
  });

  // ---- pictures and details, a chunk at a time ----
  const chunks = new Map();
  function entry(i) {
    const number = Math.floor(i / words.perChunk);
    let chunk = chunks.get(number);
    if (chunk) chunks.delete(number);  // put back as the newest
    else {
      // While the page still loads, the newest script may be there in part only.
      const script = $(`c${number}`);
      const whole = script && (script.nextSibling || document.readyState !== "loading");
      if (!whole) return null;
      chunk = JSON.parse(script.textContent);
    }
    chunks.set(number, chunk);
    if (chunks.size > CHUNKS_HELD) chunks.delete(chunks.keys().next().value);
    return chunk[i % words.perChunk];
  }

  function number(value) {
    if (value === null || value === undefined) return "–";
    const small = Math.abs(value) < 1000;
    return small ? String(Number(value.toPrecision(4))) : Math.round(value).toLocaleString("en");
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function drawFaces(svg, row, faces) {
    svg.setAttribute("viewBox", `0 0 ${row[WIDTH] || 1} ${row[HEIGHT] || 1}`);
    const boxes = faces.map(({ box: [l, t, r, b] }) => `M${l} ${t}H${r}V${b}H${l}Z`);
    const points = faces.flatMap((face) => face.points.map(([x, y]) => `M${x} ${y}h0`));
    svg.querySelector(".boxes").setAttribute("d", boxes.join(""));
    svg.querySelector(".points").setAttribute("d", points.join(""));
  }

  function fillFrame(frame, i, found) {
    const image = frame.querySelector("img"), svg = frame.querySelector("svg");
    const shown = Boolean(found && found.thumb);
    image.hidden = !shown;
    svg.toggleAttribute("hidden", !shown);
    if (shown) {
      image.src = `data:image/jpeg;base64,${found.thumb}`;
      drawFaces(svg, rows[i], found.faces);
    } else image.removeAttribute("src");
    svg.style.display = shown ? "" : "none";
    frame.querySelector(".blank").textContent = shown ? "" : found ? "no picture" : "loading";
  }

  // ---- what is shown, and in which order ----
  const wanted = { search: "", states: new Set(words.states.map((_, i) => i)), reason: "",
    categories: new Map(), figure: "", low: null, high: null, sort: "name", down: false };
  let shown = byName;

  function fits(i) {
    const row = rows[i];
    if (!wanted.states.has(row[STATE])) return false;
    if (wanted.search && !searched[i].includes(wanted.search)) return false;
    if (wanted.reason !== "" && !row[REASONS].includes(wanted.reason)) return false;
    for (const [place, value] of wanted.categories) {
      if (row[CATEGORIES][place] !== value) return false;
    }
    if (wanted.figure === "") return true;
    const figure = row[FIGURES][wanted.figure];
    return figure !== null && (wanted.low === null || figure >= wanted.low) &&
      (wanted.high === null || figure <= wanted.high);
  }

  function arrange() {
    const found = byName.filter(fits), place = figurePlace.get(wanted.sort);
    const way = wanted.down ? -1 : 1;
    if (place === undefined) { if (wanted.down) found.reverse(); } else {
      const known = found.filter((i) => rows[i][FIGURES][place] !== null);
      known.sort((a, b) => way * (rows[a][FIGURES][place] - rows[b][FIGURES][place]) ||
        nameRank[a] - nameRank[b]);
      // What was not measured comes last, whichever way.
      shown = known.concat(found.filter((i) => rows[i][FIGURES][place] === null));
    }
    if (place === undefined) shown = found;
    active = 0;
    for (const card of cards.values()) pool.push(card);
    for (const card of cards.values()) card.remove();
    cards.clear();
    tell();
    lay();
    toStart();
  }

  function toolsBottom() {
    const tools = $("tools"), sticky = getComputedStyle(tools).position === "sticky";
    return sticky ? tools.offsetHeight : 0;
  }

  // What was found starts in view: the tools may have covered it or grown.
  function toStart() {
    const over = grid.getBoundingClientRect().top - toolsBottom() - GAP;
    if (over < 0 && window.scrollY > 0) window.scrollBy(0, over);
  }

  function tell() {
    const all = rows.length.toLocaleString("en");
    const some = shown.length.toLocaleString("en");
    const filtered = shown.length !== rows.length;
    $("told").textContent = filtered ? `${some} of ${all} photos` : `${all} photos`;
    $("clear").hidden = !filtered;
    $("none").hidden = shown.length > 0;
    for (const button of document.querySelectorAll(".reasons [data-reason]")) {
      const pressed = button.dataset.reason === $("reason").value;
      button.setAttribute("aria-pressed", String(pressed));
    }
  }

  // ---- the grid ----
  const grid = $("grid"), cards = new Map(), pool = [];
  let columns = 1, cardWidth = 200, cardHeight = 260, active = 0, waiting = false;

  function lay() {
    const width = grid.clientWidth, narrow = width < 520;
    const least = narrow ? 150 : 210, gap = narrow ? 10 : GAP;
    columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    cardWidth = Math.floor((width - gap * (columns - 1)) / columns);
    const text = document.querySelector("#probe .text").offsetHeight;
    cardHeight = Math.round(cardWidth * 0.75) + text + 2;
    grid.dataset.gap = gap;
    grid.style.height = `${Math.max(0, Math.ceil(shown.length / columns) * (cardHeight + gap) - gap)}px`;
    for (const [place, card] of cards) put(card, place);
    render();
  }

  function put(card, place) {
    const gap = Number(grid.dataset.gap), row = Math.floor(place / columns);
    const x = (place % columns) * (cardWidth + gap), y = row * (cardHeight + gap);
    card.style.width = `${cardWidth}px`;
    card.style.height = `${cardHeight}px`;
    card.style.transform = `translate(${x}px, ${y}px)`;
  }

  function inView() {
    const step = cardHeight + Number(grid.dataset.gap), top = grid.getBoundingClientRect().top;
    const first = Math.floor(-top / step) - ROWS_BEYOND;
    const last = Math.ceil((window.innerHeight - top) / step) + ROWS_BEYOND;
    const clamp = (row) => Math.min(Math.max(row * columns, 0), shown.length);
    return [clamp(first), clamp(last)];
  }

  function render() {
    const [from, to] = inView();
    const focused = grid.contains(document.activeElement);
    for (const [place, card] of cards) {
      const held = focused && place === active;
      if ((place < from || place >= to) && !held) {
        cards.delete(place);
        card.remove();
        pool.push(card);
      }
    }
    // The tab key lands on a card that can be seen.
    if (!focused && (active < from || active >= to)) active = from;
    let missing = false;
    for (let place = from; place < to; place++) {
      let card = cards.get(place);
      if (!card) {
        card = pool.pop() || $("card").content.firstElementChild.cloneNode(true);
        cards.set(place, card);
        fill(card, place);
        put(card, place);
        grid.append(card);
      } else if (card.dataset.waits) fill(card, place);
      missing = missing || Boolean(card.dataset.waits);
      card.firstElementChild.tabIndex = place === active ? 0 : -1;
    }
    if (missing && !waiting && document.readyState === "loading") {
      waiting = true;
      setTimeout(() => { waiting = false; render(); }, 120);
    }
  }

  function sayFigure(parent, row) {
    const place = figurePlace.get(wanted.sort);
    const value = place === undefined ? null : row[FIGURES][place];
    parent.replaceChildren();
    if (value === null) return;
    const [, label, unit] = words.figures[place];
    parent.append(make("span", "label", `${label} `), number(value), unit ? ` ${unit}` : "");
  }

  function fill(card, place) {
    const i = shown[place], row = rows[i], found = entry(i);
    if (found) delete card.dataset.waits; else card.dataset.waits = "1";
    card.setAttribute("aria-setsize", shown.length);
    card.setAttribute("aria-posinset", place + 1);
    card.firstElementChild.dataset.place = place;
    const [state, stateWords] = words.states[row[STATE]];
    const told = card.querySelector(".state");
    told.className = `state ${state}`;
    told.textContent = stateWords;
    sayFigure(card.querySelector(".figure"), row);
    const name = card.querySelector(".name");
    name.textContent = row[NAME];
    name.title = `${row[FOLDER]}/${row[NAME]}`;
    card.querySelector(".facts").textContent = shortFacts(row);
    const reasons = row[REASONS].map((r) => words.reasons[r][1]).join(", ");
    const why = card.querySelector(".why"), camera = words.categories[0][1][row[CATEGORIES][0]];
    why.textContent = (found && found.why.join("; ")) || reasons || camera || "";
    why.classList.toggle("soft", !reasons);
    fillFrame(card.querySelector(".frame"), i, found);
  }

  function shortFacts(row) {
    const size = row[WIDTH] ? `${row[WIDTH]} × ${row[HEIGHT]}` : "";
    const eyes = row[FIGURES][figurePlace.get("eye_distance")];
    const far = eyes === null || eyes === undefined ? "" : `eyes ${Math.round(eyes)} px`;
    return [size, far].filter(Boolean).join(" · ");
  }

  let drawing = false;
  function soon() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => { drawing = false; render(); });
  }
  window.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(lay).observe(grid);

  function go(place) {
    if (!shown.length) return;
    active = Math.min(Math.max(place, 0), shown.length - 1);
    const step = cardHeight + Number(grid.dataset.gap);
    const top = grid.getBoundingClientRect().top + Math.floor(active / columns) * step;
    const tools = toolsBottom();
    if (top < tools + 8) window.scrollBy(0, top - tools - 8);
    else if (top + step > window.innerHeight) window.scrollBy(0, top + step - window.innerHeight);
    render();
    cards.get(active).firstElementChild.focus({ preventScroll: true });
    render();
  }

  grid.addEventListener("keydown", (event) => {
    const page = columns * Math.max(1, Math.floor(window.innerHeight / cardHeight) - 1);
    const to = { ArrowRight: active + 1, ArrowLeft: active - 1, ArrowDown: active + columns,
      ArrowUp: active - columns, PageDown: active + page, PageUp: active - page,
      Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    go(to);
  });
  grid.addEventListener("focusin", (event) => {
    const button = event.target.closest(".open");
    if (button) active = Number(button.dataset.place);
  });
  grid.addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (button) open(Number(button.dataset.place));
  });

  // ---- one photo ----
  const dialog = $("detail");
  let opened = -1;

  function open(place) {
    active = place;
    tellPhoto(shown[place]);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function tellPhoto(i) {
    opened = i;
    $("detail-name").textContent = rows[i][NAME];
    const found = entry(i), left = make("div"), right = make("div");
    left.append(frameOf(i, found));
    if (found) {
      sayState(left, i, found);
      mates(left, i);
      verdicts(right, "Gates", found.verdicts);
      found.faces.forEach((face, n) => {
        right.append(make("h3", "", `Face ${n + 1}`), make("p", "small soft", face.said));
        if (face.verdicts.length) verdicts(right, "", face.verdicts);
      });
      facts(right, "Photo", found.facts);
      facts(right, "Suggested by a model",
        found.suggested.map(([asked, value, score]) => [asked, `${value} (${score})`]));
    } else right.append(make("p", "soft", "Still loading."));
    $("detail-body").replaceChildren(left, right);
  }

  function frameOf(i, found) {
    const frame = $("card").content.querySelector(".frame").cloneNode(true);
    const [width, height] = found && found.thumb ? [rows[i][WIDTH], rows[i][HEIGHT]] : [5, 1];
    frame.style.aspectRatio = `${width || 4} / ${height || 3}`;
    fillFrame(frame, i, found);
    frame.querySelector("img").alt = rows[i][NAME];
    return frame;
  }

  function sayState(parent, i, found) {
    const [state, stateWords] = words.states[rows[i][STATE]];
    const list = make("ul", "reasons-list small");
    const codes = rows[i][REASONS].map((r) => words.reasons[r][1]);
    const said = found.why.length ? found.why : codes;
    for (const text of [...said, ...found.notes]) list.append(make("li", "", text));
    const path = make("bdi", "small soft", found.path), line = make("p");
    line.style.overflowWrap = "anywhere";
    line.append(path);
    parent.append(make("p", `state ${state}`, stateWords), line, list);
  }

  function verdicts(parent, title, all) {
    if (title) parent.append(make("h3", "", title));
    if (!all.length) { parent.append(make("p", "soft small", "No gate judged it.")); return; }
    const table = make("table"), head = make("thead"), body = make("tbody");
    const heads = make("tr");
    for (const text of ["gate", "measured", "asked", "verdict"]) {
      const cell = make("th", text === "measured" || text === "asked" ? "n" : "", text);
      cell.scope = "col";
      heads.append(cell);
    }
    head.append(heads);
    for (const [gate, value, threshold, keep, reason] of all) {
      const line = make("tr", keep ? "" : "no"), first = make("th", "", gate);
      first.scope = "row";
      line.append(first, make("td", "n", number(value)), make("td", "n", threshold ? number(threshold) : "–"),
        make("td", "", keep ? "passed" : title ? "refused" : reason || "refused"));
      body.append(line);
    }
    table.append(head, body);
    parent.append(table);
  }

  function facts(parent, title, pairs) {
    if (!pairs.length) return;
    const table = make("table", "facts-table"), body = make("tbody");
    for (const [label, value] of pairs) {
      const line = make("tr"), first = make("th", "", label), cell = make("td");
      first.scope = "row";
      cell.append(make("bdi", "", value));
      line.append(first, cell);
      body.append(line);
    }
    table.append(body);
    parent.append(make("h3", "", title), table);
  }

  function mates(parent, i) {
    const row = rows[i];
    const others = (kind) => (groups[kind].get(row[kind]) || []).filter((j) => j !== i);
    const like = others(LIKE);
    if (row[TWIN] >= 0 && !like.includes(row[TWIN])) like.unshift(row[TWIN]);
    for (const [title, list] of [["Files of the same shot", others(SHOT)],
      ["Near duplicates and bursts", like]]) {
      if (!list.length) continue;
      const box = make("div", "mates");
      for (const j of list.slice(0, 60)) box.append(mate(j, j === row[TWIN]));
      parent.append(make("h3", "", title), box);
      if (list.length > 60) parent.append(make("p", "small soft", `and ${list.length - 60} more`));
    }
  }

  function mate(j, instead) {
    const button = make("button"), found = entry(j), image = make("img");
    button.type = "button";
    image.alt = "";
    if (found && found.thumb) image.src = `data:image/jpeg;base64,${found.thumb}`;
    const name = make("span"), state = words.states[rows[j][STATE]][1];
    name.append(make("bdi", "", rows[j][NAME]));
    button.title = rows[j][NAME];
    button.append(image, name, make("span", "soft", instead ? "kept instead" : state));
    button.addEventListener("click", () => { tellPhoto(j); dialog.scrollTop = 0; });
    return button;
  }

  function turn(by) {
    const place = shown.indexOf(opened), to = (place < 0 ? active : place + by);
    if (to >= 0 && to < shown.length) open(to);
  }
  $("before").addEventListener("click", () => turn(-1));
  $("after").addEventListener("click", () => turn(1));
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); turn(by); }
  });
  // The browser has put the focus back on the card that was opened first: move it to the last.
  dialog.addEventListener("close", () => {
    const place = shown.indexOf(opened);
    go(place < 0 ? active : place);
  });

  // ---- the tools ----
  const numberIn = (id) => ($(id).value === "" ? null : Number($(id).value));

  function read() {
    wanted.search = fold($("search").value.trim());
    wanted.sort = $("sort").value;
    const reason = $("reason").value;
    wanted.reason = reason && words.reasons.findIndex(([code]) => code === reason);
    wanted.categories.clear();
    for (const select of document.querySelectorAll("select[data-category]")) {
      if (!select.value) continue;
      const place = words.categories.findIndex(([key]) => key === select.dataset.category);
      wanted.categories.set(place, words.categories[place][1].indexOf(select.value));
    }
    wanted.figure = $("figure").value ? figurePlace.get($("figure").value) : "";
    wanted.low = numberIn("low");
    wanted.high = numberIn("high");
    arrange();
  }

  function showStates(all) {
    for (const button of document.querySelectorAll("[data-state]")) {
      const place = words.states.findIndex(([state]) => state === button.dataset.state);
      if (all) wanted.states.add(place);
      button.setAttribute("aria-pressed", String(wanted.states.has(place)));
    }
  }

  function toPhotos() {
    if ($("photos").getBoundingClientRect().top > 0) $("photos").scrollIntoView();
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-state], [data-only], button[data-reason], " +
      "button[data-category], .bar[data-figure]");
    if (!target) return;
    const { state, only, reason, category, figure } = target.dataset;
    if (only) {
      wanted.states = new Set([words.states.findIndex(([name]) => name === only)]);
      showStates(false);
    } else if (state) {
      const place = words.states.findIndex(([name]) => name === state);
      if (wanted.states.has(place)) wanted.states.delete(place); else wanted.states.add(place);
      showStates(false);
    } else if (reason) {
      $("reason").value = $("reason").value === reason ? "" : reason;
    } else if (category) {
      const select = [...document.querySelectorAll("select[data-category]")]
        .find((one) => one.dataset.category === category);
      select.value = target.dataset.value;
    } else if (figure) {
      $("figure").value = figure;
      $("low").value = target.dataset.low;
      $("high").value = target.dataset.high;
    }
    if (!state && !only) $("more").open = true;
    read();
    if (!state) toPhotos();
  });
  let typing = 0;
  $("tools").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(read, 80);
  });
  $("tools").addEventListener("submit", (event) => { event.preventDefault(); read(); });
  $("direction").addEventListener("click", () => {
    wanted.down = !wanted.down;
    $("direction").textContent = wanted.down ? "↓" : "↑";
    $("direction").setAttribute("aria-label",
      `${wanted.down ? "Descending" : "Ascending"}; press to reverse`);
    arrange();
  });
  $("clear").addEventListener("click", () => {
    for (const input of $("tools").querySelectorAll("input")) input.value = "";
    for (const select of $("tools").querySelectorAll("select:not(#sort)")) select.value = "";
    showStates(true);
    read();
    $("search").focus();
  });
  document.addEventListener("DOMContentLoaded", () => render());
  read();
})();
