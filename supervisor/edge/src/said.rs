//! Understands once what a client says in the same words with each request of a connection.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, COOKIE, HeaderName, HeaderValue};
use percloud_link::Shared;

use crate::BaseUrl;
use crate::alarm::Alarm;
use crate::base_url::Place;
use crate::cookie::Cookies;
use crate::grain::accept::{self, Weighed};
use crate::room::Taken;

/// Longer words are not kept, so that a connection holds little. In bytes.
const KEPT: usize = 1 << 10;

/// What was said last on one connection, and what it means.
#[derive(Default)]
pub(crate) struct Said {
    host: Last<Place>,
    cookies: Last<Cookies>,
    types: Last<Weighed>,
    codings: Last<Weighed>,
    context: RefCell<Option<Context>>,
    alarm: Alarm,
    taken: Option<Rc<Taken>>,
}

/// What one request says.
pub(crate) struct Heard {
    pub cookies: Rc<Cookies>,
    pub types: Rc<Weighed>,
    pub codings: Rc<Weighed>,
    /// What all this means to an app, where the request before meant the same.
    pub context: Option<Rc<Meaning>>,
    /// That of the connection on which it is said.
    pub alarm: Alarm,
    /// What the connection takes on which it is said.
    pub taken: Option<Rc<Taken>>,
}

impl Said {
    /// Nothing was said yet on this connection.
    pub(crate) fn on(taken: Rc<Taken>, alarm: Alarm) -> Self {
        Self {
            alarm,
            taken: Some(taken),
            ..Self::default()
        }
    }

    /// What the connection takes on which it is said.
    pub(crate) fn taken(&self) -> Option<&Rc<Taken>> {
        self.taken.as_ref()
    }

    /// What a `Host` header means.
    pub(crate) fn host(&self, base: &BaseUrl, host: &[u8]) -> Rc<Place> {
        self.host.read(host, || {
            let host = std::str::from_utf8(host);
            host.map_or(Place::Malformed, |host| base.place(host))
        })
    }

    /// What else is the same from request to request. `base` is that of the whole edge.
    pub(crate) fn hear(&self, base: &BaseUrl, headers: &HeaderMap) -> Heard {
        let list = |name| accept::read(headers.get_all(name));
        let cookies = self
            .cookies
            .header(headers, COOKIE, |_| Cookies::read(base, headers));
        let types = self.types.header(headers, ACCEPT, list);
        let codings = self.codings.header(headers, ACCEPT_ENCODING, list);
        Heard {
            context: self.context(&cookies, &types, &codings),
            cookies,
            types,
            codings,
            alarm: self.alarm.clone(),
            taken: self.taken.clone(),
        }
    }
}

/// What requests say that all say the same, put together for an app by the first who needs it; nothing if that is long.
type Meaning = OnceCell<Option<Shared>>;

/// What was understood last, and what it means to an app once somebody has put that together. Does not keep what was
/// understood: long words would be held by it.
struct Context {
    cookies: Weak<Cookies>,
    types: Weak<Weighed>,
    codings: Weak<Weighed>,
    meaning: Rc<Meaning>,
}

impl Said {
    fn context(
        &self,
        cookies: &Rc<Cookies>,
        types: &Rc<Weighed>,
        codings: &Rc<Weighed>,
    ) -> Option<Rc<Meaning>> {
        let mut last = self.context.borrow_mut();
        let same = last.as_ref().filter(|last| {
            is_that(&last.cookies, cookies) && is_that(&last.types, types) && is_that(&last.codings, codings)
        });
        if let Some(same) = same {
            return Some(Rc::clone(&same.meaning));
        }
        *last = Some(Context {
            cookies: Rc::downgrade(cookies),
            types: Rc::downgrade(types),
            codings: Rc::downgrade(codings),
            meaning: Rc::default(),
        });
        None
    }
}

/// Whether both are the same. What is gone is nothing's like: its place stays taken while somebody remembers it.
fn is_that<T>(last: &Weak<T>, other: &Rc<T>) -> bool {
    std::ptr::eq(last.as_ptr(), Rc::as_ptr(other))
}

/// The last words of one kind, and what they mean. That must depend on nothing else that could change meanwhile.
struct Last<T>(RefCell<Option<Known<T>>>);

struct Known<T> {
    words: Box<[u8]>,
    meaning: Rc<T>,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Last<T> {
    /// What `words` mean, which `understand` is asked for unless they are the last ones to the byte.
    fn read(&self, words: &[u8], understand: impl FnOnce() -> T) -> Rc<T> {
        let mut last = self.0.borrow_mut();
        if let Some(known) = &*last
            && is_same(&known.words, words)
        {
            return Rc::clone(&known.meaning);
        }
        let meaning = Rc::new(understand());
        *last = (words.len() <= KEPT).then(|| Known {
            words: words.into(),
            meaning: Rc::clone(&meaning),
        });
        meaning
    }

    /// What all headers of a name mean, which `understand` knows. One that is there once can be known; none means what an
    /// empty one does.
    fn header(
        &self,
        headers: &HeaderMap,
        name: HeaderName,
        understand: impl FnOnce(HeaderName) -> T,
    ) -> Rc<T> {
        let mut values = headers.get_all(&name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => self.read(value.map_or(&[], HeaderValue::as_bytes), || understand(name)),
            _ => Rc::new(understand(name)),
        }
    }
}

/// Whether both are the same, in a time that tells nothing of where they differ: a proxy may bring requests of several
/// people on one connection, and cookies are secrets.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = |all, (one, other): (&u8, &u8)| all | (one ^ other);
    // Opaque to the compiler, which might leave early otherwise.
    one.len() == other.len() && std::hint::black_box(one.iter().zip(other).fold(0, differ)) == 0
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn base() -> BaseUrl {
        BaseUrl::new("http", "percloud.localhost:6080").unwrap()
    }

    fn session(digit: char) -> String {
        format!("__Host-percloud-session={}", digit.to_string().repeat(64))
    }

    /// What this request means must not depend on what was said before.
    fn check(said: &Said, all: &[(HeaderName, &str)]) -> Heard {
        let headers = headers(all);
        let (heard, alone) = (
            said.hear(&base(), &headers),
            Said::default().hear(&base(), &headers),
        );
        let page = |heard: &Heard| heard.cookies.page.as_ref().map(|page| *page.expose());
        assert_eq!(page(&heard), page(&alone), "{all:?}");
        assert_eq!(heard.cookies.others, alone.cookies.others, "{all:?}");
        assert_eq!(heard.types, alone.types, "{all:?}");
        assert_eq!(heard.codings, alone.codings, "{all:?}");
        heard
    }

    #[test]
    fn what_is_said_next_on_a_connection_means_what_it_means_alone() {
        let said = Said::default();
        let (one, two) = (session('1'), session('2'));
        let both = format!("{one}; {one}");
        let long = format!("{one}; long={}", "x".repeat(KEPT));
        for cookies in [
            &[one.as_str()][..],
            &[&two],
            &[&one],
            &[&one, &one],
            &[&one, "a=b"],
            &["a=b"],
            &[&both],
            &[],
            &[&long],
            &["a=c"],
            &[&one[1..]],
            &[&one],
        ] {
            let all: Vec<_> = cookies.iter().map(|cookie| (COOKIE, *cookie)).collect();
            check(&said, &all);
        }
        for (types, codings) in [
            ("*/*", "gzip"),
            ("text/html, */*;q=0.8", "gzip, br"),
            ("gzip", "*/*"),
            ("", "gzip"),
        ] {
            check(&said, &[(ACCEPT, types), (ACCEPT_ENCODING, codings)]);
        }
        check(&said, &[(ACCEPT, "a/b"), (ACCEPT, "c/d")]);
        check(&said, &[(ACCEPT, "a/b")]);
        check(&said, &[]);
    }

    #[test]
    fn the_same_words_are_understood_once() {
        let said = Said::default();
        let cookie = session('1');
        let all = [(COOKIE, cookie.as_str()), (ACCEPT, "*/*")];
        let (first, second) = (check(&said, &all), check(&said, &all));
        assert!(Rc::ptr_eq(&first.cookies, &second.cookies));
        assert!(Rc::ptr_eq(&first.types, &second.types));
    }

    #[test]
    fn a_context_is_shared_by_requests_that_say_the_same_and_follow_each_other() {
        let said = Said::default();
        let (one, two) = (session('1'), session('2'));
        let context = |cookie: &str, types: &str| check(&said, &[(COOKIE, cookie), (ACCEPT, types)]).context;
        assert!(context(&one, "*/*").is_none(), "nobody has said that before");
        // Kept, so that no other can lie in its place.
        let first = context(&one, "*/*").unwrap();
        assert!(context(&one, "*/*").is_some_and(|again| Rc::ptr_eq(&again, &first)));
        for (cookie, types) in [(&two, "*/*"), (&one, "*/*"), (&one, "text/html")] {
            assert!(context(cookie, types).is_none(), "something else was said before");
            let other = context(cookie, types).unwrap();
            assert!(!Rc::ptr_eq(&other, &first));
        }
    }

    #[test]
    fn long_words_are_not_kept() {
        let said = Said::default();
        check(&said, &[(ACCEPT, "x".repeat(KEPT).as_str())]);
        assert!(said.types.0.borrow().is_some());
        let heard = check(&said, &[(ACCEPT, "x".repeat(KEPT + 1).as_str())]);
        assert!(said.types.0.borrow().is_none());
        assert_eq!(Rc::strong_count(&heard.types), 1, "nothing else holds them");
    }

    #[test]
    fn hosts_after_each_other_are_told_apart() {
        let said = Said::default();
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        for host in [
            format!("ui-{one}.percloud.localhost:6080"),
            format!("ui-{two}.percloud.localhost:6080"),
            format!("ui-{one}.percloud.localhost:6081"),
            format!("ui-{one}.percloud.localhost"),
            format!("api-{one}.percloud.localhost:6080"),
            "percloud.localhost:6080".to_owned(),
            "evil.example".to_owned(),
            String::new(),
            format!("ui-{one}.percloud.localhost:6080"),
        ] {
            let place = said.host(&base(), host.as_bytes());
            assert_eq!(*place, base().place(&host), "{host}");
        }
        assert_eq!(*said.host(&base(), b"a\xff"), Place::Malformed);
    }

    #[test]
    fn words_differ_wherever_they_differ() {
        let words = [7; 21];
        assert!(is_same(&words, &words));
        assert!(!is_same(&words, &words[1..]));
        for place in 0..words.len() {
            let mut other = words;
            other[place] ^= 0x80;
            assert!(!is_same(&words, &other), "{place}");
        }
    }
}
