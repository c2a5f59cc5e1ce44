@0x83b3c14c3c8dd083;
# Hints to the Rust code generator.

annotation name @0xc2fe4c6d100166d0 (field, struct, enum, enumerant, union, group) :Text;
