@0xb8630836983feed7;
# The standard interface of capabilities that can be saved, restated so that Rust can be
# generated for it: the capnp crates do not export it. The standard one is generic over what is
# `AnyPointer` here, which is the same on the wire; the Rust generator writes two parameters in an
# order that changes from run to run.

interface Persistent @0xc8cb212fcd9f5691 {
  save @0 SaveParams -> SaveResults;
  # Makes a reference that outlives the connection, usable only by `sealFor`.

  struct SaveParams @0xf76fba59183073a5 {
    sealFor @0 :AnyPointer;
  }
  struct SaveResults @0xb76848c18c40efbf {
    sturdyRef @0 :AnyPointer;
  }
}

