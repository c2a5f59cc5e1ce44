@0xa53cae3f717a1676;
# App keys that gave way to others. Part of every platform, so that an app stays the same app.

struct AppIdReplacement @0x888dcc6878baa07a {
  # One key instead of another. What is signed with the replacement counts as the original app; to
  # pack for the original, sign with the replacement. Replacements are followed until none applies.

  original @0 :Text;
  # An app id: what the app is known by, for ever.

  replacement @1 :Text;
  # The app id of the key that signs for it now.

  revokeExceptPackageIds @2 :List(Text);
  # If it is there, packages signed with the original key are refused but for these. Null: the
  # original key still serves.
}

const appIdReplacementList @0xe6cb9296adfd17e0 :List(AppIdReplacement) = [
  # The first is an example for documents. The others are, in order: Paperwork, draw.io, Wekan,
  # WordPress.
  (original = "vjvekechd398fn1t1kn1dgdnmaekqq9jkjv3zsgzymc4z913ref0",
   replacement = "wq95qmutckc0yfmecv0ky96cqxgp156up8sv81yxvmery58q87jh",
   revokeExceptPackageIds = ["b5bb9d8014a0f9b1d61e21e796d78dcc"]),
  (original = "vxe8awcxvtj6yu0vgjpm1tsaeu7x8v8tfp71tyvnm6ykkephu9q0",
   replacement = "n8cn71407n4mezn7mg0k5kkm21juuphhecc24hdf9kf56zyxm4ah"),
  (original = "nfqhx83vvzm80edpgkpax8mhqp176qj2vwg67rgq5e3kjc5r4cyh",
   replacement = "a3w50h1435gsxczugm16q0amwkqm9f4crykzea53sv61pt7phk8h",
   revokeExceptPackageIds = ["1450e0caa29b59ec938b3795bf17cb02", "738f0e56a9ca462e77245e3f392686d7"]),
  (original = "m86q05rdvj14yvn78ghaxynqz7u2svw6rnttptxx49g1785cdv1h",
   replacement = "6jz1aawur7kga7tdsj9kgpxx1yzh6xz1qmrpnqukcp1rekprd9f0"),
  (original = "aax9j672p6z8n7nyupzvj2nmumeqd4upa0f7mgu8gprwmy53x04h",
   replacement = "zp00qqrha6gp8515ju84ys91syyq8ezv77g9s1r0t3urz92uzmqh"),
];
