@0xbf72526e76ecd73b;

using LocalizedText = import "util.capnp".LocalizedText;

struct ProxyClaimRequestRequest @0xe85d79ab9bde4783 {
  requestToken @0 :Text;
  requiredPermissions @1 :List(Text);
  label @2 :LocalizedText;
}
struct ProxyClaimRequestResponse @0x88b48ab0daf5d8d0 {
  cap @0 :Text;
}
