"use strict";
// Lets this process connect to loopback and to nothing else.
const net = require("node:net");
const dns = require("node:dns");
const loopback = [undefined, null, "", "127.0.0.1", "localhost", "::1"];
const refusal = () => Object.assign(new Error("kept on loopback"), { code: "ENETUNREACH" });
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  const options = first !== null && typeof first === "object" ? first : {};
  const host = options === first ? first.host : typeof second === "string" ? second : undefined;
  if (options.path || loopback.includes(host)) return connect.apply(this, given);
  process.nextTick(() => this.destroy(refusal()));
  return this;
};
for (const name of Object.keys(dns).filter((key) => /^(lookup|resolve|reverse)/.test(key))) {
  const answer = dns[name];
  dns[name] = (...given) => {
    if (loopback.includes(given[0])) return answer(...given);
    process.nextTick(given.at(-1), refusal());
  };
  if (dns.promises[name]) dns.promises[name] = () => Promise.reject(refusal());
}
