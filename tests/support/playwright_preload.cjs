// Playwright sends every page's colour scheme by a command that Debian's Firefox does not know yet.
const Module = require("node:module");

const compile = Module.prototype._compile;
const SENT = /await this\.(_browser\._browserSession|_session)\.send\("emulation\.setMediaFeaturesOverride"/g;

Module.prototype._compile = function (source, file, ...rest) {
  const patched = file.endsWith("coreBundle.js") ? source.replace(SENT, "void (null") : source;
  return compile.call(this, patched, file, ...rest);
};
