"use strict";
const columns = JSON.parse(document.getElementById("columns").textContent);
const forms = [...document.querySelectorAll("form.photo")];
const told = document.getElementById("told");
let unsaved = false;

const cell = (text) => {
  const safe = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
  return /[",;\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
};
const value = (form, column) => [...form.elements]
  .filter((e) => e.name === column && (e.type === "textarea" || e.checked) && !e.closest("[hidden]"))
  .map((e) => e.value.trim()).filter(Boolean).join(", ");
const answered = (form) => columns.some((c) => value(form, c));
const whole = (form) => {
  const needed = [...form.querySelectorAll("[data-when]")].filter((f) => !f.hidden);
  return !!value(form, "decision") && needed.every((f) => f.querySelector(":checked"));
};

const refresh = (form) => {
  for (const asked of form.querySelectorAll("[data-when]")) {
    asked.hidden = !asked.dataset.values.split(" ").includes(value(form, asked.dataset.when));
  }
  form.classList.toggle("wrong", answered(form) && !whole(form));
};
const count = () => {
  const done = forms.filter(whole).length, open = forms.filter((f) => answered(f) && !whole(f)).length;
  told.textContent = `${done} of ${forms.length} answered` + (open ? `, ${open} incomplete` : "");
};

document.addEventListener("input", (event) => {
  const form = event.target.closest("form");
  if (form) { unsaved = true; refresh(form); count(); }
});
let ticked = null; // a second click on a ticked circle takes the answer back
document.addEventListener("mousedown", (event) => {
  const radio = event.target.closest("label")?.querySelector("input[type=radio]");
  ticked = radio?.checked ? radio : null;
});
document.addEventListener("click", (event) => {
  if (!ticked || event.target !== ticked) return;
  ticked.checked = false;
  ticked.dispatchEvent(new Event("input", { bubbles: true }));
  ticked = null;
});
document.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll(".zoom[open]").forEach((d) => { d.open = false; });
});
window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
document.getElementById("save").addEventListener("click", () => {
  const rows = forms.filter(answered).map((form) =>
    ["AF-" + form.dataset.id, form.dataset.file, document.body.dataset.form, ...columns.map((c) => value(form, c))]);
  const text = [["id", "file", "form", ...columns], ...rows].map((r) => r.map(cell).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff" + text], { type: "text/csv" }));
  link.download = document.title.replace(/\D+(\d+).*/, "answers-$1.csv");
  link.click();
  unsaved = false;
});
