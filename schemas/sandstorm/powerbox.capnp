@0xf6c200ab14cd53e4;

using LocalizedText = import "util.capnp".LocalizedText;

struct PowerboxDescriptor @0xedcf0fa3bfc71c58 {
  tags @0 :List(Tag);
  quality @1 :MatchQuality = acceptable;
  struct Tag @0xbe3d16a8df03c418 {
    id @0 :UInt64;
    value @1 :AnyPointer;
  }
  enum MatchQuality @0xbb1afa45d25ce8de {
    acceptable @0;
    preferred @1;
    unacceptable @2;
  }
}
struct PowerboxDisplayInfo @0xa553a209bee32bec {
  title @0 :LocalizedText;
  verbPhrase @1 :LocalizedText;
  description @2 :LocalizedText;
}
