@0x96c3fff3f4beb8fe;
# Signatures on Sandstorm's own releases. Nothing an app or package is concerned with.

struct PublicSigningKey @0x9b54bbec5de99f09 {
  # An Ed25519 public key: 32 bytes in order, the first eight of them in `key0`, little-endian.

  key0 @0 :UInt64;
  key1 @1 :UInt64;
  key2 @2 :UInt64;
  key3 @3 :UInt64;
}

struct Signature @0xc4d0558d33210637 {
  # An Ed25519 signature: 64 bytes, laid out as the key is.

  sig0 @0 :UInt64;
  sig1 @1 :UInt64;
  sig2 @2 :UInt64;
  sig3 @3 :UInt64;
  sig4 @4 :UInt64;
  sig5 @5 :UInt64;
  sig6 @6 :UInt64;
  sig7 @7 :UInt64;
}

struct UpdateSignature @0x9c805f76ef46e6c0 {
  signatures @0 :List(Signature);
  # One for each key.
}
