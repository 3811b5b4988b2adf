// Sends a photo, and goes on by itself after a lost connection or a busy server.

import { text } from "./texts.js";

const PAUSES_S = [1, 2, 4, 8, 15, 30, 60];
const STALL_MS = 20_000;
const ANSWER_MS = 60_000;
const PASSING = [0, 408, 429, 502, 503, 504];

/** Tells whether an answer says that the server has no room, which takes somebody to make some. */
export const isFull = ({ error }) => error?.code === "storage_full";

// Resolves to {status, body, retryAfterS}; the status is 0 when there was no answer.
function post(url, blob, onPercent) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append("file", blob, "photo");
  let watch;
  // A phone that changes its network may not notice for minutes that the connection is gone.
  const expectWithin = (ms) => {
    clearTimeout(watch);
    watch = setTimeout(() => request.abort(), ms);
  };
  return new Promise((resolve) => {
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      expectWithin(STALL_MS);
      if (total) onPercent(Math.round((100 * loaded) / total));
    });
    request.upload.addEventListener("load", () => expectWithin(ANSWER_MS));
    request.addEventListener("loadend", () => {
      clearTimeout(watch);
      const retryAfterS = Number(request.getResponseHeader("Retry-After")) || 0;
      resolve({ status: request.status, body: request.response ?? {}, retryAfterS });
    });
    expectWithin(STALL_MS);
    request.send(form);
  });
}

async function pause(seconds, reason, onState) {
  const reconnected = new Promise((resolve) => window.addEventListener("online", resolve, { once: true }));
  for (let left = seconds; left > 0; left -= 1) {
    onState(navigator.onLine ? text(reason, { seconds: left }) : text("upload.offline"));
    const second = new Promise((resolve) => setTimeout(resolve, 1_000, true));
    if (!(await Promise.race([second, reconnected.then(() => false)]))) return;
  }
}

// Resolves to the last answer, whether it may be another one later, and whether it is the first.
export async function sendPhoto(url, blob, { onPercent, onState }) {
  for (const [tries, seconds] of [...PAUSES_S, null].entries()) {
    const answer = await post(url, blob, onPercent);
    const isPassing = PASSING.includes(answer.status);
    const pauseS = Math.max(seconds, answer.retryAfterS);
    if (!isPassing || seconds === null || pauseS > PAUSES_S.at(-1)) return { ...answer, isPassing, isFirst: !tries };
    await pause(pauseS, isFull(answer.body) ? "upload.full" : "upload.again", onState);
  }
}
