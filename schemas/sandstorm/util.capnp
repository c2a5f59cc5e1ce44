@0xecd50d792c3d9992;
# Small types every other schema leans on: pairs, texts, handles, streams, variables.

struct KeyValue @0x94a081e4abb13424 {
  # A named string. Lists of these keep their order.

  key @0 :Text;
  value @1 :Text;
}

struct LocalizedText @0x8b5db772377be249 {
  # Words for people, in as many languages as their author offers.

  defaultText @0 :Text;
  # Shown when no localization fits. Plain text, never markup.

  localizations @1 :List(Localization);

  struct Localization @0xa4f5ae06dd1b7791 {
    locale @0 :Text;
    # A language tag, such as "de" or "pt-BR".

    text @1 :Text;
  }
}

interface Handle @0x98f424ac606042e0 {
  # Something that goes on for as long as somebody holds this. Dropping the last reference ends it;
  # there is no other way to end it, and no way to learn through a handle how it is going.

  ping @0 () -> ();
  # Held by whoever holds the handle; shows that both ends are alive. Handles to streamed responses
  # are pinged every 60 seconds: the call crosses the grain's membrane, which keeps the grain awake.
}

interface ByteStream @0xcd57387729cfe35f {
  # Where bytes are sent. Held by the sender, implemented by the receiver. Dropping it without
  # `done` means that the data broke off. Not persistent.

  write @0 (data :Data) -> stream;
  # The next bytes, in order. Chunk boundaries mean nothing. The pause before a call returns is the
  # receiver's flow control; after a failure further writes are lost.

  done @1 () -> ();
  # Nothing more will be written, and all of it was sent.

  expectSize @2 (size :UInt64) -> ();
  # Announces how many bytes are still to come. Optional, and useful only ahead of the first
  # `write`: that is when a receiver can still turn it into `Content-Length`. A wrong number is the
  # sender's fault, and the receiver may cut or refuse.
}

interface Blob @0xe53527a75d90198f {
  # A block of bytes that never changes. The holder may read it as often as they like and can
  # neither change it nor learn who else reads.

  getSize @0 () -> (size :UInt64);
  # In bytes.

  writeTo @1 (stream :ByteStream, startAtOffset :UInt64 = 0) -> (handle :Handle);
  # Sends everything from the given byte on into `stream`, then calls its `done`. Dropping the
  # handle earlier stops the sending.

  getSlice @2 (offset :UInt64, size :UInt32) -> (data :Data);
  # Up to `size` bytes from `offset`; fewer when the blob ends before.
}

interface Assignable @0xeaf255b498229199(T) {
  # A variable that lives elsewhere. Its two halves can be handed out apart, so that one party may
  # read what only another may write.

  get @0 () -> (value :T, setter :Setter);
  # The value now, and the right to replace it.

  asGetter @1 () -> (getter :Getter);
  # The reading half. Its holder cannot get back to this object.

  asSetter @2 () -> (setter :Setter);
  # The writing half. Its holder cannot read.

  interface Getter @0x80f2f65360d64224 {
    # Reads, and watches. Cannot write.

    get @0 () -> (value :T);

    subscribe @1 (setter :Setter) -> (handle :Handle);
    # Passes every new value to `setter`, until the handle is dropped. Values that were replaced
    # before they could be delivered may be left out; the latest arrives.
  }

  interface Setter @0xd5256a3f93589d2f {
    # Writes. Cannot read.

    set @0 (value :T) -> ();
  }
}

interface StaticAsset @0xfabb5e621fa9a23f {
  # A picture or other file that never changes and that anybody with its address may load.
  # Implemented by the platform. Apps hold it for icons and portraits of grains and people they
  # know.

  getUrl @0 () -> (protocol :Protocol, hostPath :Text);
  # Where a browser finds the file: protocol, "://", `hostPath`. The address is public, cacheable
  # without end, and cannot be taken back.

  enum Protocol @0x9714437546d80c39 {
    https @0;
    http @1;
  }
}
