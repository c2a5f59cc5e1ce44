import assert from "node:assert/strict";
import test from "node:test";

import { readAddress } from "../src/powerbox/address.ts";

test("addresses are read as people type them", () => {
  for (const [typed, url, host] of [
    ["https://api.github.com/repos", "https://api.github.com/repos", "api.github.com"],
    [" api.github.com/repos ", "https://api.github.com/repos", "api.github.com"],
    ["Example.ORG", "https://example.org/", "example.org"],
    ["example.org:8443/a/../b", "https://example.org:8443/b", "example.org:8443"],
    ["localhost:8080", "https://localhost:8080/", "localhost:8080"],
    ["//example.org/a", "https://example.org/a", "example.org"],
    ["https:example.org", "https://example.org/", "example.org"],
    ["https://example.org:443", "https://example.org/", "example.org"],
    ["https://[2001:DB8::1]/x", "https://[2001:db8::1]/x", "[2001:db8::1]"],
    // What looks like other letters is shown as what it is.
    ["bücher.example", "https://xn--bcher-kva.example/", "xn--bcher-kva.example"],
    ["https://gіthub.example", "https://xn--gthub-n2e.example/", "xn--gthub-n2e.example"],
  ] as const) {
    assert.deepEqual(readAddress(typed), { is: "good", url, host, encrypted: true }, typed);
  }
  assert.deepEqual(readAddress("http://trains.example"), { is: "good", url: "http://trains.example/", host: "trains.example", encrypted: false });
});

test("what is no address of a website is told apart", () => {
  for (const [typed, why] of [
    ["", "empty"],
    ["  ", "empty"],
    ["not an address", "malformed"],
    ["https://", "malformed"],
    ["https://a:b:c/", "malformed"],
    ["ftp://example.org/", "scheme"],
    ["javascript:alert(1)", "scheme"],
    ["mailto:anna@example.org", "scheme"],
    ["file:///etc/passwd", "scheme"],
    ["example.org/?a=b", "query"],
    ["example.org/?", "query"],
    ["example.org/#a", "fragment"],
    ["example.org/?a#b", "fragment"],
    ["example.org/#", "fragment"],
    [`example.org/${"a".repeat(2048)}`, "long"],
    [`example.org/${"ü".repeat(500)}`, "long"],
  ] as const) {
    assert.deepEqual(readAddress(typed), { is: "bad", why }, typed);
  }
});

test("a user name and a password in an address are taken out of it", () => {
  for (const [typed, user, password, rest] of [
    ["https://anna:secret@example.org/a", "anna", "secret", "https://example.org/a"],
    ["anna:se%40cret@example.org", "anna", "se@cret", "https://example.org/"],
    ["https://anna@example.org/#b", "anna", "", "https://example.org/#b"],
    ["http://:key@example.org/", "", "key", "http://example.org/"],
    ["https://a%zz:b@example.org/", "a%zz", "b", "https://example.org/"],
  ] as const) {
    assert.deepEqual(readAddress(typed), { is: "signed", user, password, rest }, typed);
  }
});
