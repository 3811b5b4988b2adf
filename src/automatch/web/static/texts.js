// The texts of scripts, in the reader's language: templates write them with script_texts().

const texts = {};
for (const block of document.querySelectorAll("script.texts")) {
  Object.assign(texts, JSON.parse(block.textContent));
}
const plurals = new Intl.PluralRules(document.documentElement.lang);

/** Return a text with its {names} filled in; one with several forms takes that of its count. */
export function text(name, values = {}) {
  const found = texts[name];
  const form = typeof found === "string" ? found : (found[plurals.select(values.count)] ?? found.other);
  return form.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}
