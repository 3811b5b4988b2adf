// Photos that were chosen and are not sent yet, kept in the browser for the person who chose them:
// across a lost connection, a reload, and the end of a session. For an hour at most.

import { openStore } from "./browser_store.js";

const LIFE_MS = 3_600_000;

export const person = document.body.dataset.person;

const store = openStore("automatch", "photos");
// Where nothing can be kept everything else works.
const transact = (mode, work) => store(mode, work).catch(() => undefined);

// A photo is {blob, wanted}, the latter once it is to be sent; it gets an id when it is first kept.
export async function keep(photo) {
  const id = await transact("readwrite", (store) => store.put({ kept_at: Date.now(), ...photo, person }));
  if (id !== undefined) photo.id = id;
}

export const forget = (photo) => photo.id !== undefined && transact("readwrite", (store) => store.delete(photo.id));

export const forgetAll = () => transact("readwrite", (store) => store.clear());

// Erases what belongs to somebody else who used this browser, and what was kept for too long.
export async function listKept() {
  const own = [];
  for (const photo of (await transact("readonly", (store) => store.getAll())) ?? []) {
    const isOld = Math.abs(Date.now() - photo.kept_at) > LIFE_MS;
    if (isOld || (person && photo.person !== person)) await forget(photo);
    else if (person) own.push(photo);
  }
  return own;
}

export async function isKept(photo) {
  return photo.id === undefined || (await transact("readonly", (store) => store.count(photo.id))) !== 0;
}
