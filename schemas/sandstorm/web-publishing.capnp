@0xd5d3e63bd0a552b6;
# Publishing a web site through a capability. Shipped Sandstorm has no provider for it: grains there
# publish the files in `/var/www`, see `HackSessionContext.getPublicId`.

using Assignable = import "util.capnp".Assignable;
using Blob = import "util.capnp".Blob;
using ByteStream = import "util.capnp".ByteStream;

interface WebSite @0xdddcca47803e2377 {
  # A place on the web, as the right to fill it. Its holder decides what everyone sees there and
  # below, and nothing above or beside it.

  getUrl @0 () -> (path :Text);
  # Where it is.

  getEntities @1 (path :Text) -> (entities :Assignable(List(Entity)));
  # What is served at `path`, to read and replace; several entities are alternatives to choose from
  # by type, language and encoding.

  getNotFoundEntities @2 () -> (entities :Assignable(List(Entity)));
  # What is served where nothing else is.

  uploadBlob @3 () -> (blob :Blob, stream :ByteStream);
  # Stores bytes that are too many for a message: write them to `stream`, use `blob` in an entity.

  getSubsite @4 (prefix :Text) -> (site :WebSite);
  # The same right, for what is below `prefix` only.

  listResources @5 (shallow :Bool) -> (names :List(Text));
  # Paths where something is; those directly here, if `shallow`.

  struct Entity @0xd019dd3e3c0e7e68 {
    # One form of a resource.

    mimeType @0 :Text;
    language @1 :Text;
    encoding @2 :Text;
    # These three become `Content-Type`, `-Language` and `-Encoding`; empty for none.

    body :union {
      bytes @3 :Data;
      blob @4 :Blob;
    }

    redirectTo @5 :Text;
    # Leads elsewhere; null if it does not.
  }
}
