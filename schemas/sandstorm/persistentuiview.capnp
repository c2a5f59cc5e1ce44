@0xfe5c7cde99284f21;

using SystemPersistent = import "supervisor.capnp".SystemPersistent;
using UiView = import "grain.capnp".UiView;

interface PersistentUiView @0x826f7187e23c37c9 extends(UiView, SystemPersistent) {
  # A grain as another grain holds it: it can be saved and offered on, it answers `getViewInfo`, and
  # it opens no sessions.
}
