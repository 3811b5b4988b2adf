// Turns notifications on this device on and off. The browser asks for leave only after a tap.

const OWNER = "automatch-push";
const { person } = document.body.dataset;
const part = document.getElementById("push");
const start = document.getElementById("push-start");
const stop = document.getElementById("push-stop");
const state = document.getElementById("push-state");

const send = (path, device) =>
  fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: JSON.stringify(device) }).then((answer) => {
    if (!answer.ok) throw new Error(answer.status);
  });

function keyBytes() {
  const text = part.dataset.key.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function show(name) {
  state.textContent = part.dataset[name];
  start.hidden = name === "on" || name === "blocked";
  stop.hidden = name !== "on";
}

async function subscribe(manager) {
  const options = { userVisibleOnly: true, applicationServerKey: keyBytes() };
  const device = await manager.subscribe(options);
  localStorage.setItem(OWNER, person);
  await send("/notifications/devices", device);
}

async function run() {
  const registration = await navigator.serviceWorker.ready;
  const manager = registration.pushManager;
  const act = (work) => () => work().catch(() => show(Notification.permission === "denied" ? "blocked" : "failed"));
  start.addEventListener("click", act(async () => {
    if ((await Notification.requestPermission()) !== "granted") return show(Notification.permission === "denied" ? "blocked" : "off");
    await subscribe(manager);
    show("on");
  }));
  stop.addEventListener("click", act(async () => {
    const device = await manager.getSubscription();
    if (device) {
      await send("/notifications/devices/forget", device);
      await device.unsubscribe();
    }
    show("off");
  }));
  const device = await manager.getSubscription();
  const key = device && new Uint8Array(device.options.applicationServerKey ?? []);
  // The installation may have a new key, or somebody else was told on this device.
  const isOwn = device && String(key) === String(keyBytes()) && localStorage.getItem(OWNER) === person;
  if (isOwn) await subscribe(manager);
  else await device?.unsubscribe();
  show(Notification.permission === "denied" ? "blocked" : isOwn ? "on" : "off");
}

const isSupported = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
if (part) {
  part.hidden = !isSupported;
  document.getElementById("push-missing").hidden = isSupported;
  if (isSupported) run().catch(() => show("failed"));
}
