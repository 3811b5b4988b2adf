"""Notifications in a browser that somebody else was told on before."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.browser import Phones

# No push service can be reached, so the browser's part is played.
_PUSH = """
const key = () => Uint8Array.from(
  atob(document.getElementById("push").dataset.key.replaceAll("-", "+").replaceAll("_", "/")),
  (letter) => letter.charCodeAt(0),
);
const made = () => ({
  options: { get applicationServerKey() { return key().buffer; } },
  toJSON: () => ({
    endpoint: "https://fcm.googleapis.com/played",
    keys: { p256dh: "k".repeat(87), auth: "a".repeat(22) },
  }),
  unsubscribe: async () => localStorage.removeItem("played"),
});
const pushManager = {
  getSubscription: async () => (localStorage.getItem("played") ? made() : null),
  subscribe: async () => {
    localStorage.setItem("played", "1");
    return made();
  },
};
const ready = Promise.resolve({ pushManager });
Object.defineProperty(navigator, "serviceWorker", {
  value: { ready, register: async () => {}, addEventListener() {} },
});
Notification.requestPermission = async () => "granted";
Object.defineProperty(Notification, "permission", { value: "granted" });
"""


def test_page_renews_only_what_its_own_person_asked_for(phones: Phones) -> None:
    page = phones.join("Linh", "Female")
    page.add_init_script(_PUSH)
    page.evaluate("localStorage.setItem('played', '1')")
    state = page.locator("#push-state")
    told = (
        "select count(*) from automatch.push_subscriptions as s"
        " join public.profiles as p on p.id = s.profile_id where p.email = %s"
    )

    page.goto(f"{phones.url}/notifications")
    expect(state).to_have_text("You don't get notifications on this device.")
    assert page.evaluate("localStorage.getItem('played')") is None
    assert phones.value(told, phones.email("Linh")) == 0

    page.get_by_role("button", name="Tell me about new look-alikes").click()
    expect(state).to_have_text("You'll get notifications on this device.")
    phones.execute("delete from automatch.push_subscriptions")
    page.reload()
    expect(state).to_have_text("You'll get notifications on this device.")
    assert phones.value(told, phones.email("Linh")) == 1
