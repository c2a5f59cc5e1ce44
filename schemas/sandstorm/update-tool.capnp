@0x96c3fff3f4beb8fe;

struct PublicSigningKey @0x9b54bbec5de99f09 {
  key0 @0 :UInt64;
  key1 @1 :UInt64;
  key2 @2 :UInt64;
  key3 @3 :UInt64;
}
struct Signature @0xc4d0558d33210637 {
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
}
