// Acts that could not be sent: kept in the browser for who did them, and sent in their order once there is a connection.

import { openStore } from "./browser_store.js";

const LIFE_MS = 7 * 86_400_000;
const UNDO_MS = 60_000;
const ANSWER_MS = 15_000;
const { person } = document.body.dataset;

const transact = openStore("automatch-acts", "acts");

const drop = (act) => transact("readwrite", (store) => store.delete(act.id));

// Somebody else may have used this browser before: what they did is not done for who uses it now.
export async function list() {
  const own = [];
  for (const act of await transact("readonly", (store) => store.getAll()).catch(() => [])) {
    const isOld = Math.abs(Date.now() - act.at) > (act.sent ? UNDO_MS : LIFE_MS);
    if (isOld || (person && act.person !== person)) await drop(act);
    else if (person && !act.sent) own.push(act);
  }
  return own;
}

// Somebody else may have signed in since, in another tab: then the server refuses.
export const post = (action, body) =>
  fetch(`${action}?person=${person}`, { method: "POST", body, headers: { accept: "application/json" }, signal: AbortSignal.timeout(ANSWER_MS) });

async function sendAll() {
  for (const act of await list()) {
    const answer = await post(act.action, new URLSearchParams(act.fields));
    if ([401, 429].includes(answer.status) || answer.status >= 500) return;
    if (answer.ok) {
      const { undo } = await answer.json();
      // Every open page may be asked to undo it.
      await transact("readwrite", (store) => store.put({ id: act.id, person, sent: true, undo, at: Date.now() }));
    } else await drop(act);
  }
}

// One page sends for all.
const alone = async (work) => navigator.locks?.request("automatch-acts", work) ?? work();
export const flush = () => alone(sendAll).catch(() => {});

export const isWaiting = async () => (await list()).length > 0;

/** Keeps an act for later; returns by what it is undone, or nothing where nothing can be kept. */
export async function keep(action, body) {
  const fields = [...(body ?? [])].filter(([, value]) => typeof value === "string");
  const id = await transact("readwrite", (store) => store.add({ action, fields, person, at: Date.now() })).catch(() => undefined);
  return id && `outbox:${id}`;
}

/** Takes an act back, once it is not on its way; returns the address of the undo where it was sent meanwhile. */
export const takeBack = (name) =>
  alone(async () => {
    const id = Number(name.split(":")[1]);
    const act = await transact("readonly", (store) => store.get(id));
    await drop({ id });
    return act?.undo;
  });

export const forgetActs = () => transact("readwrite", (store) => store.clear()).catch(() => {});

if (person) {
  for (const sign of ["online", "feedlive"]) window.addEventListener(sign, flush);
  flush();
}
