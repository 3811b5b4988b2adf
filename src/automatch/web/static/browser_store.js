// A database of the browser with one store, whose records get a number as their id.

const OPEN_MS = 2_000;

/** Returns what does work in a transaction; it fails where nothing can be kept, as in some private windows. */
export function openStore(database, name) {
  let opening;

  function open() {
    opening ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(database, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(name, { keyPath: "id", autoIncrement: true });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      // In some browsers it may never answer, and signing out would wait for it.
      setTimeout(reject, OPEN_MS);
    });
    return opening;
  }

  return async (mode, work) => {
    const transaction = (await open()).transaction(name, mode);
    const request = work(transaction.objectStore(name));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return request.result;
  };
}
