//! A plain HTTP app on a Unix socket that answers what the native app of the benches answers: `/small`, `/download?bytes=N`
//! and `PUT /upload`. One thread, as a grain's app is.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use crate::failure::{Attempt, Failure};

static SMALL: [u8; 128] = [b's'; 128];
static CHUNK: [u8; 128 << 10] = [b'd'; 128 << 10];

/// Serves on `socket` until it is killed.
pub fn serve(socket: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.attempt(|| "start a runtime".to_owned())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(socket).attempt(|| format!("listen on {socket}"))?;
        loop {
            let (stream, _) = listener
                .accept()
                .await
                .attempt(|| format!("accept on {socket}"))?;
            tokio::task::spawn_local(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                // How a connection ends is the other side's affair.
                let _ = connection
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .await;
            });
        }
    })
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let response = match request.uri().path() {
        "/small" => Response::new(Full::new(Bytes::from_static(&SMALL)).boxed_unsync()),
        "/download" => {
            let count = request
                .uri()
                .query()
                .and_then(|query| query.strip_prefix("bytes=")?.parse().ok());
            Response::new(
                Repeated {
                    left: count.unwrap_or(0),
                }
                .boxed_unsync(),
            )
        }
        "/upload" => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(Full::new(Bytes::from(format!("{{\"bytes\":{count}}}"))).boxed_unsync())
        }
        _ => {
            let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    Ok(response)
}

/// The same chunk over and over, `left` bytes of it.
struct Repeated {
    left: u64,
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = self.left.min(CHUNK.len() as u64);
        self.left -= count;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
            &CHUNK[..count as usize],
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
