// Shows how many look-alikes are new: in the title, in the navigation, and on the icon of the app.

const label = document.getElementById("new-count");
const unread = label?.querySelector(".unseen") ?? label?.appendChild(document.createElement("span"));
const title = document.title.replace(/^\(\d+\+?\) /, "");
const MOST = 99;

export function showNewCount(count) {
  const text = count > MOST ? `${MOST}+` : `${count}`;
  document.title = count ? `(${text}) ${title}` : title;
  if (label) {
    label.hidden = !count;
    label.replaceChildren(text, unread);
  }
  // Only an installed app has an icon to write on.
  (count ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.())?.catch(() => {});
}

if (label) showNewCount(Number.parseInt(label.textContent, 10) || 0);
