// Acts that could not be sent: kept in the browser for who did them, and sent in their order once there is a connection.

const LIFE_MS = 7 * 86_400_000;
const ANSWER_MS = 15_000;
const { person } = document.body.dataset;
const answers = new Map();

let opening;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("automatch-acts", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("acts", { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

async function transact(mode, work) {
  const transaction = (await open()).transaction("acts", mode);
  const request = work(transaction.objectStore("acts"));
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  return request.result;
}

const drop = (act) => transact("readwrite", (store) => store.delete(act.id));

// Somebody else may have used this browser before: what they did is not done for who uses it now.
export async function list() {
  const own = [];
  for (const act of await transact("readonly", (store) => store.getAll()).catch(() => [])) {
    const isOld = Math.abs(Date.now() - act.at) > LIFE_MS;
    if (isOld || (person && act.person !== person)) await drop(act);
    else if (person) own.push(act);
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
    if (answer.ok) answers.set(act.id, await answer.json());
    await drop(act);
  }
}

// One page sends for all.
export const flush = () => (navigator.locks?.request("automatch-acts", sendAll) ?? sendAll()).catch(() => {});

export const isWaiting = async () => (await list()).length > 0;

/** Keeps an act for later; returns by what it is undone, or nothing where nothing can be kept. */
export async function keep(action, body) {
  const fields = [...(body ?? [])].filter(([, value]) => typeof value === "string");
  const id = await transact("readwrite", (store) => store.add({ action, fields, person, at: Date.now() })).catch(() => undefined);
  return id && `outbox:${id}`;
}

/** Takes an act back; returns the address of the undo where it was sent meanwhile. */
export async function takeBack(name) {
  const id = Number(name.split(":")[1]);
  await drop({ id });
  return answers.get(id)?.undo;
}

if (person) {
  for (const sign of ["online", "feedlive"]) window.addEventListener(sign, flush);
  flush();
}
