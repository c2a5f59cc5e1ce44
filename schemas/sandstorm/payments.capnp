@0xd512486208994241;

using LocalizedText = import "util.capnp".LocalizedText;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;

interface PaymentSource @0xf9692c357124ed70 {
  getTitle @0 () -> (title :LocalizedText);
}
interface PaymentAcceptor @0xd562e38729bbd911 {
  createPayment @0 (source :PaymentSource, invoice :Invoice) -> CreatePaymentResults;
  struct CreatePaymentResults @0xeedba0c4417e0460 {
    union {
      success :group {
        payment @0 :Payment;
      }
      failed :group {
        description @1 :LocalizedText;
      }
    }
  }
  struct Invoice @0x91d6a3469f738613 {
    items @0 :List(Item);
    struct Item @0xfe043eafc75e52c0 {
      title @0 :LocalizedText;
      amountCents @1 :Int32;
    }
  }
}
interface Payment @0xc5203e36361f382d {
  commit @0 () -> ();
}
interface PersistentPaymentSource @0xa66dd2d4c80d0fae extends(PaymentSource, SystemPersistent) {
}
interface PersistentPaymentAcceptor @0xe70f1d4eea79f6f5 extends(PaymentAcceptor, SystemPersistent) {
}
interface PersistentPayment @0xbbcf2f6351d92999 extends(Payment, SystemPersistent) {
}
