// Keeps the static files and one page for when there is no network: nothing of anybody. The server
// writes SHELL above it.

const CACHE = `automatch-${SHELL.version}`;
// The files of a page that is open are those of its own version.
const KEPT_VERSIONS = 2;

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll([SHELL.offline, ...SHELL.files]);
  await self.skipWaiting();
}

async function activate() {
  const versions = (await caches.keys()).filter((name) => name.startsWith("automatch-") && name !== CACHE);
  await Promise.all(versions.slice(0, 1 - KEPT_VERSIONS).map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function staticFile(request) {
  const kept = await caches.match(request);
  return kept ?? fetch(request);
}

async function page(request) {
  try {
    return await fetch(request);
  } catch {
    return caches.match(SHELL.offline);
  }
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(request));
  else if (new URL(request.url).pathname.startsWith("/static/")) event.respondWith(staticFile(request));
});

// News without a name or face; browsers require that each one is shown.
self.addEventListener("push", (event) => {
  const { title, text, news, address } = event.data.json();
  const options = { body: text, tag: "automatch-news", icon: SHELL.icon, badge: SHELL.icon, data: { address } };
  const shown = self.registration.showNotification(title, options);
  event.waitUntil(Promise.all([shown, self.navigator.setAppBadge?.(news).catch(() => {})]));
});

async function openPage(address) {
  const pages = await self.clients.matchAll({ type: "window" });
  const page = pages.find((each) => new URL(each.url).pathname === address) ?? pages[0];
  if (!page) return self.clients.openWindow(address);
  await page.focus();
  return new URL(page.url).pathname === address ? page : page.navigate(address);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openPage(event.notification.data.address));
});
