//! Uploads that break off: the server must not take what it has for everything.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::said::said;
use crate::server::{Server, Visitor, both};
use crate::uploads::{done, expect, post, response, stuck, write};
use crate::world::{World, run, soon};

/// Everything that was said of the body, until it broke off.
async fn breaks_off<S>(visitor: &mut Visitor<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(piece) = visitor.chunk().await {
        assert!(!piece.is_empty(), "the body came to its end");
    }
}

#[test]
fn more_than_was_expected_does_not_become_another_request() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        expect(&stream, 3).await;
        let _too_much = write(&stream, b"abcGET / HTTP/1.1\r\n\r\n").await;
        let mut visitor = server.accept().await;
        let seen = visitor.request().await;
        assert_eq!(seen.body, b"abc");
        drop(stream);
        assert_eq!(visitor.closed().await, 0);
    });
}

#[test]
fn less_than_was_expected_arrives_broken() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        expect(&stream, 10).await;
        write(&stream, b"abc").await.unwrap();
        done(&stream).await.unwrap();
        let visit = async { server.accept().await.request().await };
        let (answer, seen) = both(response(&stream), visit).await;
        assert!(!seen.is_complete);
        answer.map(drop).unwrap_err();
    });
}

#[test]
fn an_upload_let_go_of_arrives_broken() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for is_awaited in [false, true] {
            let stream = post(&session).await;
            let answer = is_awaited.then(|| response(&stream));
            write(&stream, b"one").await.unwrap();
            let mut visitor = server.accept().await;
            visitor.head().await;
            drop(stream);
            breaks_off(&mut visitor).await;
            if let Some(answer) = answer {
                soon(answer).await.map(drop).unwrap_err();
            }
        }
    });
}

#[test]
fn an_upload_given_up_in_the_middle_of_a_write_arrives_broken() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for is_answered in [false, true] {
            let stream = post(&session).await;
            let answer = response(&stream);
            let piece = vec![b'a'; 1 << 20];
            let writing = async {
                loop {
                    write(&stream, &piece).await?;
                }
            };
            let mut visitor = stuck(&server, writing).await;
            if is_answered {
                visitor
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
                    .await;
                assert_eq!(said(soon(answer).await).unwrap().body, b"well");
            } else {
                drop(answer);
            }
            drop(stream);
            breaks_off(&mut visitor).await;
        }
    });
}

#[test]
fn a_grain_that_dies_leaves_no_whole_uploads() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        for is_answered in [false, true] {
            let session = world.website(&server.url("")).await;
            let stream = post(&session).await;
            let answer = response(&stream);
            let piece = vec![b'a'; 1 << 20];
            let writing = async {
                loop {
                    write(&stream, &piece).await?;
                }
            };
            let mut visitor = stuck(&server, writing).await;
            if is_answered {
                visitor.send("HTTP/1.1 204 So\r\n\r\n").await;
                soon(answer).await.map(drop).unwrap();
            }
            world.hosts_die();
            breaks_off(&mut visitor).await;
            world.end(1).await;
        }
    });
}

#[test]
fn an_answer_may_come_before_the_end_of_the_question() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        let answer = response(&stream);
        write(&stream, b"one").await.unwrap();
        let mut visitor = server.accept().await;
        visitor.head().await;
        visitor
            .send("HTTP/1.1 413 So\r\nContent-Length: 3\r\nContent-Type: text/html\r\n\r\nbig")
            .await;
        let answer = said(soon(answer).await).unwrap();
        assert_eq!(
            (&*answer.what, &*answer.page),
            ("client error RequestEntityTooLarge", "big")
        );
        response(&stream).await.map(drop).unwrap_err();
        drop(stream);
        breaks_off(&mut visitor).await;
    });
}

#[test]
fn a_site_that_takes_nothing_is_given_up() {
    run(async {
        let world = World::limited(|limits| limits.answer = Duration::from_secs(1)).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        let answer = response(&stream);
        let piece = vec![b'a'; 1 << 20];
        let writing = async {
            loop {
                if let Err(error) = write(&stream, &piece).await {
                    return error.to_string();
                }
            }
        };
        let visit = async {
            let mut visitor = server.accept().await;
            visitor.head().await;
            visitor
        };
        let (told, mut visitor) = both(writing, visit).await;
        assert!(told.contains("took nothing for 1 seconds"), "{told}");
        breaks_off(&mut visitor).await;
        soon(answer).await.map(drop).unwrap_err();
    });
}
