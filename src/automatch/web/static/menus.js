// Menus and dialogs as a keyboard expects them: Escape closes, and focus returns.

const MENU = "details.menu";

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = [...document.querySelectorAll(`${MENU}[open]`)].pop();
  if (!open) return;
  event.preventDefault();
  open.open = false;
  open.querySelector("summary").focus();
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(`${MENU}[open]`)) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog?.showModal) {
    event.preventDefault();
    dialog.showModal();
  }
  // The dialog fills itself with a child, so a click that hits it alone is one beside it.
  if (event.target.matches("dialog[open]")) event.target.close();
});
