@0xd512486208994241;
# Paying, as capabilities.

using LocalizedText = import "util.capnp".LocalizedText;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;

interface PaymentSource @0xf9692c357124ed70 {
  # Somebody's means of paying. Holding it is worth nothing without a `PaymentAcceptor` of the same
  # provider.

  getTitle @0 () -> (title :LocalizedText);
  # What its owner knows it by. No number or other secret.
}

interface PaymentAcceptor @0xd562e38729bbd911 {
  # The means of being paid. Its holder can charge sources it was given; it cannot pay out.

  createPayment @0 (source :PaymentSource, invoice :Invoice) -> CreatePaymentResults;
  # Prepares a payment. Nothing is charged until it is committed.

  struct CreatePaymentResults @0xeedba0c4417e0460 {
    union {
      success :group {
        payment @0 :Payment;
      }

      failed :group {
        description @1 :LocalizedText;
        # Why, for the person who pays.
      }
    }
  }

  struct Invoice @0x91d6a3469f738613 {
    items @0 :List(Item);
    # What is owed is the sum.

    struct Item @0xfe043eafc75e52c0 {
      title @0 :LocalizedText;

      amountCents @1 :Int32;
      # In hundredths of the currency unit; below zero for a deduction.
    }
  }
}

interface Payment @0xc5203e36361f382d {
  # A payment that was prepared. Dropping it without `commit` charges nothing.

  commit @0 () -> ();
  # Charges it.
}

interface PersistentPaymentSource @0xa66dd2d4c80d0fae extends(PaymentSource, SystemPersistent) {
  # A `PaymentSource` that can be saved.
}

interface PersistentPaymentAcceptor @0xe70f1d4eea79f6f5 extends(PaymentAcceptor, SystemPersistent) {
  # A `PaymentAcceptor` that can be saved.
}

interface PersistentPayment @0xbbcf2f6351d92999 extends(Payment, SystemPersistent) {
  # A `Payment` that can be saved.
}
