// The page reads and works without this script; it adds a filter, keys, and the view at 1:1.
"use strict";
(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const shown = (what) => all(what).filter((e) => !e.closest("section[hidden]"));

  for (const button of all(".filter button")) {
    button.addEventListener("click", () => {
      for (const other of all(".filter button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      const kind = button.dataset.kind;
      for (const section of all("section")) {
        section.hidden = kind !== "" && section.dataset.kind !== kind;
      }
    });
  }

  const viewer = document.querySelector("dialog.viewer");
  const [stage, pair, said] = [".stage", ".pair", ".said"].map((c) => viewer.querySelector(c));
  const [lower, upper] = all("img", pair);
  const which = viewer.querySelector(".which");
  const size = viewer.querySelector(".size");
  let current = null;
  let full = false;

  function turn(toBefore) {
    pair.classList.toggle("after", !toBefore);
    which.textContent = toBefore ? "Before" : "After";
  }

  // At 1:1 a pixel of the picture is a pixel of the screen; x and y are what stays in the middle.
  function lay(x = 0.5, y = 0.5) {
    const [wide, high] = [lower.naturalWidth, lower.naturalHeight];
    if (!wide) return;
    const one = 1 / window.devicePixelRatio;
    const fit = Math.min(stage.clientWidth / wide, stage.clientHeight / high);
    const scale = full ? one : fit;
    pair.style.width = `${wide * scale}px`;
    pair.style.height = `${high * scale}px`;
    stage.classList.toggle("full", full);
    size.setAttribute("aria-pressed", String(full));
    stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
    const percent = Math.round((scale / one) * 100);
    said.textContent = `${current.dataset.photo}: ${label(current)} · ${percent} %`;
  }

  const label = (figure) => figure.querySelector("figcaption").textContent;

  function open(figure) {
    current = figure;
    const [after, before] = all("img", figure);
    lower.onload = () => lay();
    lower.src = after.src;
    lower.alt = after.alt;
    upper.src = before.src;
    upper.alt = before.alt;
    turn(false);
    if (!viewer.open) viewer.showModal();
    which.focus();
    lay();
  }

  function go(by) {
    const figures = shown(".af-slider");
    const at = figures.indexOf(current) + by;
    if (figures[at]) open(figures[at]);
  }

  const doing = {
    which: () => turn(pair.classList.contains("after")),
    size: () => { full = !full; lay(); },
    previous: () => go(-1),
    next: () => go(1),
    close: () => viewer.close(),
  };
  for (const button of all(".bar button")) {
    button.addEventListener("click", () => doing[button.dataset.do]());
  }

  const keys = { " ": "which", b: "which", 1: "size", ArrowLeft: "previous", ArrowRight: "next" };
  document.addEventListener("keydown", (event) => {
    const name = viewer.open && keys[event.key];
    // A focused button takes the space bar itself.
    if (!name || (event.key === " " && event.target.matches("button"))) return;
    if (full && event.key.startsWith("Arrow") && event.shiftKey) return;
    event.preventDefault();
    doing[name]();
  });
  viewer.addEventListener("close", () => current && current.querySelector("button").focus());
  window.addEventListener("resize", () => viewer.open && lay());

  // A short press changes the size around that point, a drag moves the picture.
  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return;
    held = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop };
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("held");
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held) return;
    stage.scrollLeft = held.left + held.x - event.clientX;
    stage.scrollTop = held.top + held.y - event.clientY;
  });
  stage.addEventListener("pointerup", (event) => {
    if (!held) return;
    const moved = Math.hypot(event.clientX - held.x, event.clientY - held.y);
    held = null;
    stage.classList.remove("held");
    if (moved > 4) return;
    const box = pair.getBoundingClientRect();
    full = !full;
    lay((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });

  for (const figure of all("section .af-slider")) {
    figure.dataset.photo = figure.closest("section").dataset.name;
    const button = document.createElement("button");
    button.className = "closer";
    button.type = "button";
    button.textContent = "Look closer";
    button.setAttribute("aria-label", `Look closer: ${figure.dataset.photo}, ${label(figure)}`);
    button.addEventListener("click", () => open(figure));
    figure.append(button);
  }

  // n and p go from photo to photo.
  document.addEventListener("keydown", (event) => {
    const by = { n: 1, p: -1 }[event.key];
    if (!by || viewer.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const sections = shown("section");
    const here = document.activeElement.closest("section");
    const first = by > 0 ? -1 : sections.length;
    const next = sections[(here ? sections.indexOf(here) : first) + by];
    if (next) { next.focus(); next.scrollIntoView(); }
  });
})();
