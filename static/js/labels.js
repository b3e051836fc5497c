// Settings of a project: adds rows for labels, and says at once when two share a name or a key.
"use strict";
{
  const rows = document.querySelector("[data-rows]");
  const add = document.querySelector("[data-add]");
  const blank = document.querySelector("[data-blank-row]").innerHTML;
  const told = document.querySelector("[data-twins]");
  const total = document.getElementById("id_labels-TOTAL_FORMS");

  const stays = (input) => !input.closest(".label-row").querySelector("[name$=-DELETE]")?.checked;

  function twins(field) {
    const inputs = [...rows.querySelectorAll(`[name$=-${field}]`)];
    const values = inputs.map((input) => (stays(input) ? input.value.trim().toLowerCase() : ""));
    const found = new Set(values.filter((value, at) => value && values.indexOf(value) !== at));
    inputs.forEach((input, at) => input.toggleAttribute("data-twin", found.has(values[at])));
    return [...found].map((value) => `Two labels have the ${field} “${value}”.`);
  }

  const check = () => { told.textContent = [...twins("name"), ...twins("key")].join(" "); };

  add.hidden = false;
  add.addEventListener("click", () => {
    rows.insertAdjacentHTML("beforeend", blank.replaceAll("__prefix__", total.value));
    const palette = rows.dataset.palette.split(",");
    rows.querySelector(`[name=labels-${total.value}-colour]`).value = palette[total.value % palette.length];
    rows.querySelector(`[name=labels-${total.value}-name]`).focus();
    total.value = Number(total.value) + 1;
  });
  rows.addEventListener("input", check);
  check();
}
