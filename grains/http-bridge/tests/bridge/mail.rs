//! Mail for the grain.

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::traits::HasTypeId;
use percloud_schemas::email_capnp::{email_message, email_send_port};
use percloud_schemas::hack_session_capnp::hack_email_session;

use crate::harness::{Bridge, run};

async fn port(bridge: &Bridge) -> email_send_port::Client {
    let session = bridge
        .open(|mut params| {
            params.set_session_type(hack_email_session::Client::TYPE_ID);
        })
        .await;
    session.cast_to()
}

async fn send(
    port: &email_send_port::Client,
    fill: impl FnOnce(email_message::Builder<'_>),
) -> Result<(), Error> {
    let mut request = port.send_request();
    fill(request.get().init_email());
    request.send().promise.await.map(|_| ())
}

#[test]
fn mail_lands_in_the_maildir_whole() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let port = port(&bridge).await;
        // The app has made no mailbox yet.
        let error = send(&port, |_| ()).await.unwrap_err();
        assert!(error.extra.contains("/var/mail"), "{error}");

        for folder in ["tmp", "new", "cur"] {
            std::fs::create_dir_all(bridge.storage("mail").join(folder)).unwrap();
        }
        let (one, two) = tokio::join!(
            send(&port, |mut email| {
                email.set_subject("Grüße\r\nX-Evil: yes");
                email.set_text("From me\n\n.\n");
                email.init_from().set_address("a@b.example\nX-Evil: yes");
            }),
            send(&port, |mut email| {
                email.set_subject("two");
                email.init_attachments(1).get(0).set_content(&vec![1; 3 << 20]);
            })
        );
        one.unwrap();
        two.unwrap();
        let entries = std::fs::read_dir(bridge.storage("mail/new")).unwrap();
        let mut mails: Vec<_> = entries
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        mails.sort_by_key(String::len);
        assert_eq!(mails.len(), 2);
        assert!(
            mails[0].contains("\nFrom: a@b.exampleX-Evil:yes\n"),
            "{}",
            mails[0]
        );
        assert!(mails[0].contains("\nSubject: =?UTF-8?B?R3LDvMOfZSBYLUV2aWw6IHllcw==?=\n"));
        assert!(mails[0].contains("\n\nFrom me\n\n.\n--"));
        assert!(!mails[0].contains('\r') && !mails[0].contains("\nX-Evil"));
        assert!(mails[1].contains("\nSubject: two\n"));
        assert!(mails[1].lines().filter(|line| line.len() == 76).count() >= (3 << 20) / 57);
        assert_eq!(std::fs::read_dir(bridge.storage("mail/tmp")).unwrap().count(), 0);
    });
}

#[test]
fn a_mailbox_that_cannot_be_written_loses_nothing_silently() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let port = port(&bridge).await;
        std::fs::create_dir_all(bridge.storage("mail/tmp")).unwrap();
        // `new` is missing: the draft goes again, and the sender hears of it.
        assert!(send(&port, |_| ()).await.is_err());
        assert_eq!(std::fs::read_dir(bridge.storage("mail/tmp")).unwrap().count(), 0);

        let too_many = send(&port, |email| {
            email.init_to(10_001);
        });
        assert!(
            too_many
                .await
                .unwrap_err()
                .extra
                .contains("larger than this mailbox takes")
        );
    });
}
