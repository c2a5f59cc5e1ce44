@0xb8630836983feed7;
# The standard interface of capabilities that can be saved, restated so that Rust can be
# generated for it: the capnp crates do not export it.

interface Persistent @0xc8cb212fcd9f5691 (SturdyRef, Owner) {
  save @0 SaveParams -> SaveResults;
  # Makes a reference that outlives the connection, usable only by `sealFor`.

  struct SaveParams @0xf76fba59183073a5 {
    sealFor @0 :Owner;
  }
  struct SaveResults @0xb76848c18c40efbf {
    sturdyRef @0 :SturdyRef;
  }
}

