@0xf6c200ab14cd53e4;
# How one grain asks for a capability and another says it can provide one, without naming each
# other.
#
# The app asks, the platform shows the person what would fit, the person picks. Nothing is granted
# until then, and the asking app does not learn what was not picked.

using LocalizedText = import "util.capnp".LocalizedText;

struct PowerboxDescriptor @0xedcf0fa3bfc71c58 {
  # Describes a capability: all tags hold of it. A list of descriptors means any of them.
  #
  # A query matches an offer when every tag id of the query occurs in the offer with a matching
  # value. A query without tags matches everything.

  tags @0 :List(Tag);

  quality @1 :MatchQuality = acceptable;
  # How well this alternative would serve. A more specific descriptor overrides a less specific one.
  # Sandstorm, as shipped, reads it under a wrong name and so treats all as equal.

  struct Tag @0xbe3d16a8df03c418 {
    id @0 :UInt64;
    # Type id of the interface the capability must implement, or another 64-bit id both sides agreed
    # on.

    value @1 :AnyPointer;
    # Details, of the type that goes with `id`: by custom the struct `PowerboxTag` nested in the
    # interface. Null on either side matches anything. Otherwise kinds must agree; structs match if
    # their data sections are the same (the shorter padded with zeros) and their pointers match in
    # turn; lists must be equal, except that lists of structs are sets: each element asked for must
    # match one that is offered. Capabilities have no place in here.
  }

  enum MatchQuality @0xbb1afa45d25ce8de {
    acceptable @0;
    # Would do.

    preferred @1;
    # Show it first.

    unacceptable @2;
    # Would not do although a broader descriptor includes it.
  }
}

struct PowerboxDisplayInfo @0xa553a209bee32bec {
  # Says in words what a capability is, for pickers and for lists of what was granted. Written by an
  # app, so the platform shows it as the app's claim.

  title @0 :LocalizedText;
  # A name, as in a list: "Team calendar".

  verbPhrase @1 :LocalizedText;
  # What its holder may do: "can add events".

  description @2 :LocalizedText;
  # A sentence or two, for those who want to know more.
}
