@0xb6a1f0c24d97e835;
# How the broker and the egress speak. The egress is the only process that opens connections to other machines.
#
# Grain hosts reach it as they reach each other: they knock at its door (`GrainDoor.take`) with a nonce of the broker.

interface Egress {
  # Bootstrap of the egress towards the broker.

  admit @0 (nonce :Data, reference :Data, outlet :Outlet, holder :Text) -> ();
  # Expects somebody to present `nonce` at the door; once, and only for a few seconds. What they take is ended by
  # `end` with the same `reference` (16 bytes). All that one holder (the id of a grain) takes shares one bound of
  # connections.

  end @1 (reference :Data) -> ();
  # Breaks what was taken under this id, and every connection made with it; returns when it is done. What has not been
  # taken yet is not given any more. An id that is not known is no error.
}

interface EgressKeeper {
  # Bootstrap of the broker towards the egress.

  save @0 (reference :Data, owner :AnyPointer) -> (token :Data);
  # A grain asks for a token of what it took under this id (`Persistent.save`). `owner` is an `ApiTokenOwner`, as it came.
}

struct Outlet {
  # What lies outside and may be reached.

  union {
    website :group {
      # An `ApiSession`: every address that begins with `url`, and none else.

      url @0 :Text;
      # In the normal form of `percloud_core::web_address`.

      authorization @1 :Text;
      # The value of `Authorization`; null for none. Known to the egress only, never to the grain.
    }

    network :group {
      # An `IpNetwork`: any public address.
      tls @2 :Bool;
      # Connections are encrypted on their way.
    }

    interface @3 :Void;
    # An `IpInterface`: ports of this machine.
  }
}
