//! An app that says what it was asked, and misbehaves on request.

mod reply;
mod streams;

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::web_session_capnp::web_session::{self, context, response};

use self::reply::{bad_headers, dump, headers, say};
use self::streams::{Cancelled, Echo, Handle, Upload, expect, write};
use crate::world::Shared;

type Done = Result<(), Error>;

/// One session of the app, and its number. When the grain host breaks it, as it does with sessions whose access was
/// revoked, calls under way and new ones fail, and everything that was handed over through it is let go of.
pub struct App(pub Shared, pub usize);

/// Waits until a session is broken.
async fn broken(facts: &Shared, session: usize) {
    facts.until(|facts| facts.broken >= session).await;
}

fn ended() -> Error {
    Error::disconnected("the session was ended".to_owned())
}

/// Bytes anybody can compare: position modulo 251.
pub fn pattern(from: u64, length: usize) -> Vec<u8> {
    static ROUND: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| (0..251).cycle().take(251 * 4200).collect());
    // Copied from one long piece: these tests move hundreds of megabytes.
    let mut start = usize::try_from(from % 251).unwrap();
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let end = ROUND.len().min(start + length - bytes.len());
        bytes.extend_from_slice(&ROUND[start..end]);
        start = end % 251;
    }
    bytes
}

impl App {
    fn note(&self, call: String) {
        self.0.update(|facts| facts.calls.push(call));
    }

    async fn answer(
        &self,
        what: String,
        path: &str,
        context: context::Reader<'_>,
        results: &mut web_session::GetResults,
    ) -> Done {
        tokio::select! {
            biased;
            () = broken(&self.0, self.1) => Err(ended()),
            answered = self.say(what, path, context, results) => answered,
        }
    }

    /// Answers as a path says, or else with what was asked.
    async fn say(
        &self,
        what: String,
        path: &str,
        context: context::Reader<'_>,
        results: &mut web_session::GetResults,
    ) -> Done {
        self.note(what.lines().next().unwrap_or_default().to_owned());
        let (name, number) = path.split_once('/').unwrap_or((path, "0"));
        let number: u64 = number.parse().unwrap_or(0);
        let stream = context.get_response_stream()?;
        let facts = self.0.clone();
        let code = u16::try_from(number).unwrap_or(u16::MAX);
        match name {
            "never" => {
                let _cancelled = Cancelled(facts);
                std::future::pending::<()>().await;
            }
            "fail" => return Err(Error::failed("it <b>broke</b>".to_owned())),
            "overloaded" => return Err(Error::overloaded("not now".to_owned())),
            "unimplemented" => return Err(Error::unimplemented("never heard of it".to_owned())),
            "restart" => {
                // The whole grain goes away in the middle of its answer, the first time it is asked.
                let cut = facts.update(|facts| {
                    if facts.doors.len() == 1 {
                        facts.doors[0].take()
                    } else {
                        None
                    }
                });
                if let Some(cut) = cut {
                    let _ = cut.send(());
                    std::future::pending::<()>().await;
                }
                say(results, "back again");
            }
            "inline" => {
                let mut content = results.get().init_content();
                content.set_mime_type("application/octet-stream");
                let mut tag = content.reborrow().init_e_tag();
                tag.set_value("v1");
                content
                    .init_body()
                    .set_bytes(&pattern(0, usize::try_from(number).unwrap()));
            }
            "stream" | "open-stream" | "piece" | "cut" | "endless" | "quiet" | "too-long" => {
                let mut content = results.get().init_content();
                content.set_mime_type("application/octet-stream");
                content.init_body().set_stream(new_client(Handle(facts.clone())));
                let (name, session, known) = (name.to_owned(), self.1, facts.clone());
                let writing = async move {
                    match name.as_str() {
                        "stream" => {
                            expect(&stream, number).await;
                            write(facts, stream, Some(number), true).await;
                        }
                        "piece" => {
                            let mut write = stream.write_request();
                            write
                                .get()
                                .set_data(&pattern(0, usize::try_from(number).unwrap()));
                            // What went wrong with a write may show with the call after it.
                            let outcome = match write.send().await {
                                Ok(()) => stream.done_request().send().promise.await.map(drop),
                                Err(error) => Err(error),
                            };
                            facts.update(|facts| {
                                facts.write_error = outcome.err().map(|error| error.to_string())
                            });
                        }
                        "open-stream" => write(facts, stream, Some(number), true).await,
                        "cut" => {
                            expect(&stream, 1 << 20).await;
                            write(facts, stream, Some(1000), false).await;
                        }
                        "too-long" => {
                            expect(&stream, 10).await;
                            write(facts, stream, Some(1 << 20), true).await;
                        }
                        "quiet" => {
                            let _held = stream;
                            std::future::pending::<()>().await;
                        }
                        _ => write(facts, stream, None, true).await,
                    }
                };
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        () = broken(&known, session) => {}
                        () = writing => {}
                    }
                });
            }
            "success" => {
                let mut content = results.get().init_content();
                content.set_status_code(response::SuccessCode::try_from(code).unwrap());
                content.init_body().set_bytes(b"body");
            }
            "client" => {
                let mut error = results.get().init_client_error();
                error.set_status_code(response::ClientErrorCode::try_from(code).unwrap());
                error.set_description_html("<p>no");
            }
            "server" => results.get().init_server_error().set_description_html("<p>sorry"),
            "plain-error" => {
                let mut body = results.get().init_server_error().init_non_html_body();
                body.set_mime_type("application/json");
                body.set_data(b"{}");
            }
            "redirect" => {
                let mut redirect = results.get().init_redirect();
                redirect.set_is_permanent(number & 1 == 1);
                redirect.set_switch_to_get(number & 2 == 2);
                redirect.set_location("https://elsewhere.example/a?b#c");
            }
            "bad-redirect" => results
                .get()
                .init_redirect()
                .set_location("/a\r\nSet-Cookie: x=y"),
            "no-content" => {
                let mut empty = results.get().init_no_content();
                empty.set_should_reset_form(number == 1);
                empty.init_e_tag().set_value("e");
            }
            "precondition" => results
                .get()
                .init_precondition_failed()
                .init_matching_e_tag()
                .set_value("e"),
            "headers" => headers(results),
            "bad-headers" => bad_headers(results),
            "many-cookies" => {
                let mut cookies = results.get().init_set_cookies(1000);
                for index in 0..1000 {
                    cookies.reborrow().get(index).set_name("n");
                }
            }
            _ => {
                let mut text = what;
                dump(&mut text, context)?;
                say(results, &text);
            }
        }
        Ok(())
    }
}

impl ui_session::Server for App {}

/// A method whose parameters are a path, a context and what `more` writes down.
macro_rules! method {
    ($name:ident, $params:ident, $text:ident, $what:ident => $more:block) => {
        async fn $name(
            self: Rc<Self>,
            params: web_session::$params,
            mut results: web_session::GetResults,
        ) -> Done {
            let $what = params.get()?;
            let path = $what.get_path()?.to_string()?;
            #[allow(unused_mut)]
            let mut $text = format!("{} {path}\n", stringify!($name).trim_end_matches('_'));
            $more
            let context = $what.get_context()?;
            self.answer($text, &path, context, &mut results).await
        }
    };
}

macro_rules! content {
    ($text:ident, $what:ident) => {{
        let content = $what.get_content()?;
        let kind = content.get_mime_type()?.to_str()?;
        let encoding = content.get_encoding()?.to_str()?;
        let bytes = content.get_content()?;
        writeln!(
            $text,
            "content {kind} {encoding} {} {}",
            bytes.len(),
            String::from_utf8_lossy(bytes)
        )
        .unwrap();
    }};
}

impl web_session::Server for App {
    method!(get, GetParams, text, what => { writeln!(text, "ignore body {}", what.get_ignore_body()).unwrap() });
    method!(post, PostParams, text, what => { content!(text, what) });
    method!(put, PutParams, text, what => { content!(text, what) });
    method!(patch, PatchParams, text, what => { content!(text, what) });
    method!(mkcol, MkcolParams, text, what => { content!(text, what) });
    method!(report, ReportParams, text, what => { content!(text, what) });
    method!(delete, DeleteParams, text, what => {});
    method!(propfind, PropfindParams, text, what => {
        writeln!(text, "depth {:?} xml {}", what.get_depth()?, what.get_xml_content()?.to_str()?).unwrap();
    });
    method!(proppatch, ProppatchParams, text, what => {
        writeln!(text, "xml {}", what.get_xml_content()?.to_str()?).unwrap();
    });
    method!(acl, AclParams, text, what => { writeln!(text, "xml {}", what.get_xml_content()?.to_str()?).unwrap() });
    method!(copy, CopyParams, text, what => {
        let to = what.get_destination()?.to_str()?;
        writeln!(text, "to {to} no overwrite {} shallow {}", what.get_no_overwrite(), what.get_shallow()).unwrap();
    });
    method!(move_, MoveParams, text, what => {
        writeln!(text, "to {} no overwrite {}", what.get_destination()?.to_str()?, what.get_no_overwrite()).unwrap();
    });
    method!(lock, LockParams, text, what => {
        writeln!(text, "shallow {} xml {}", what.get_shallow(), what.get_xml_content()?.to_str()?).unwrap();
    });
    method!(unlock, UnlockParams, text, what => {
        writeln!(text, "token {}", what.get_lock_token()?.to_str()?).unwrap();
    });

    async fn options(
        self: Rc<Self>,
        params: web_session::OptionsParams,
        mut results: web_session::OptionsResults,
    ) -> Done {
        let path = params.get()?.get_path()?.to_string()?;
        self.note(format!("options {path}"));
        if self.0.read(|facts| facts.broken >= self.1) {
            return Err(ended());
        }
        if path == "none" {
            return Err(Error::unimplemented("no options".to_owned()));
        }
        let mut options = results.get();
        options.set_dav_class1(true);
        options.set_dav_class3(true);
        options.init_dav_extensions(1).set(0, "calendar-access");
        Ok(())
    }

    async fn post_streaming(
        self: Rc<Self>,
        params: web_session::PostStreamingParams,
        mut results: web_session::PostStreamingResults,
    ) -> Done {
        let params = params.get()?;
        let path = params.get_path()?.to_str()?;
        self.note(format!(
            "post streaming {path} {}",
            params.get_mime_type()?.to_str()?
        ));
        match path {
            "collected" => return Err(Error::unimplemented("no streams".to_owned())),
            "collected-old" => return Err(Error::failed("Method not implemented.".to_owned())),
            _ => {}
        }
        let early = path == "early";
        results.get().set_stream(new_client(Upload {
            facts: self.0.clone(),
            session: self.1,
            early,
            refuse: path == "refuse",
        }));
        Ok(())
    }

    async fn put_streaming(
        self: Rc<Self>,
        params: web_session::PutStreamingParams,
        mut results: web_session::PutStreamingResults,
    ) -> Done {
        let params = params.get()?;
        self.note(format!(
            "put streaming {} {}",
            params.get_path()?.to_str()?,
            params.get_mime_type()?.to_str()?
        ));
        results.get().set_stream(new_client(Upload {
            facts: self.0.clone(),
            session: self.1,
            early: false,
            refuse: false,
        }));
        Ok(())
    }

    async fn open_web_socket(
        self: Rc<Self>,
        params: web_session::OpenWebSocketParams,
        mut results: web_session::OpenWebSocketResults,
    ) -> Done {
        let params = params.get()?;
        let path = params.get_path()?.to_str()?;
        let asked: Vec<String> = params
            .get_protocol()?
            .iter()
            .map(|name| name.unwrap().to_string().unwrap())
            .collect();
        self.note(format!("socket {path} {}", asked.join(",")));
        if self.0.read(|facts| facts.broken >= self.1) {
            return Err(ended());
        }
        let client = params.get_client_stream()?;
        if let Some(last) = asked.last() {
            results.get().init_protocol(1).set(0, last.as_str());
        }
        match path {
            "flood" => {
                let facts = self.0.clone();
                tokio::task::spawn_local(async move {
                    loop {
                        let mut bytes = client.send_bytes_request();
                        bytes.get().set_message(&[0; 64 << 10]);
                        if let Err(error) = bytes.send().await {
                            facts.update(|facts| facts.write_error = Some(error.to_string()));
                            return;
                        }
                        facts.update(|facts| facts.written += 64 << 10);
                    }
                });
                results.get().set_server_stream(new_client(Echo {
                    facts: self.0.clone(),
                    to: Rc::default(),
                }));
            }
            "blurt" => {
                let facts = self.0.clone();
                tokio::task::spawn_local(async move {
                    // What went wrong with a message may show with one after it.
                    let error = loop {
                        let mut bytes = client.send_bytes_request();
                        bytes.get().set_message(&vec![0; 33 << 20]);
                        if let Err(error) = bytes.send().await {
                            break error;
                        }
                    };
                    facts.update(|facts| facts.write_error = Some(error.to_string()));
                });
                results.get().set_server_stream(new_client(Echo {
                    facts: self.0.clone(),
                    to: Rc::default(),
                }));
            }
            "close" => results.get().set_server_stream(new_client(Echo {
                facts: self.0.clone(),
                to: Rc::default(),
            })),
            "refuse" => return Err(Error::failed("no sockets here".to_owned())),
            _ => {
                let to = Rc::new(RefCell::new(Some(client)));
                let (facts, session, held) = (self.0.clone(), self.1, to.clone());
                tokio::task::spawn_local(async move {
                    broken(&facts, session).await;
                    held.take();
                });
                results.get().set_server_stream(new_client(Echo {
                    facts: self.0.clone(),
                    to,
                }));
            }
        }
        Ok(())
    }
}
