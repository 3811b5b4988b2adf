// Photos that were chosen and are not sent yet, kept in the browser for the person who chose them:
// across a lost connection, a reload, and the end of a session. For an hour at most.

const LIFE_MS = 3_600_000;
const OPEN_MS = 2_000;

export const person = document.body.dataset.person;

let opening;

function open() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("automatch", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("photos", { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // In some browsers it may never answer, and signing out would wait for it.
    setTimeout(reject, OPEN_MS);
  });
  return opening;
}

// Where nothing can be kept, as in some private windows, everything else works.
async function transact(mode, work) {
  try {
    const transaction = (await open()).transaction("photos", mode);
    const request = work(transaction.objectStore("photos"));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return request.result;
  } catch {
    return undefined;
  }
}

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
